"""Named steps at which a test may end, freeze or cut off a worker; nothing happens unless KEHU_FAIL says so.

`KEHU_FAIL=copying@3=kill` kills the process when it reaches `copying` for the third time. Several are separated by
commas. `kill` is SIGKILL and `stop` SIGSTOP, sent by the process to itself; `cut` breaks the connection that the step
uses, and `deaf` breaks only its answers, so that what was sent has an unknown outcome.
"""

import os
import signal
import socket
from typing import Protocol

from infra.errors import KehuError

STEPS = (
    "polled",  # a batch was fetched
    "marked",  # a message is read that has a header of the name kehu-failpoint
    "decided",  # it was decided on, nothing is written
    "moved",  # positions moved in the open transaction
    "remembered",  # inbox written
    "numbered",  # log positions taken: the lock that all writers share is held
    "copying",  # half of the events sent
    "committing",  # everything sent but the commit
    "committed",  # the transaction is over
    "answered",  # the source knows
    "folded",  # the projector folded a batch
    "saving",  # its position moved in the open transaction
    "saved",  # rows and position are committed
    "filled",  # a slice of the customers is in the tables of new builds, not committed
    "told",  # a webhook took a page of changes, its mark is not saved
    "published",  # rows of a view are acknowledged, the mark is not saved
    "erasing",  # an erasure is begun, nothing is destroyed
    "forgetting",  # the key is destroyed and the event written in the open transaction
    "forgotten",  # both are committed
    "emptying",  # messages and snapshots are purged in the open transaction
    "emptied",  # they are
    "purging",  # personal rows of other builds are removed in the open transaction
    "purged",  # they are, and the live builds have folded it
    "growing",  # new leaves are in the kept tree, no head is signed
    "sealing",  # its head is signed and inserted, nothing is committed
    "sealed",  # the head is committed, nobody outside knows it
    "anchored",  # a place outside has it, that is not noted
    "indexed",  # new builds have all rows and indexes, their positions are not moved
)


class WrongFailpoint(KehuError):
    """KEHU_FAIL is not understood. Write STEP@TIMES=kill|stop|cut|deaf, or leave the variable out."""

    exit_code = 2


class Wire(Protocol):
    """What can be cut: a connection with a socket."""

    def fileno(self) -> int:
        """The number of its socket."""


class Failpoints:
    """What is to happen at which step, and how often that step must be reached before."""

    def __init__(self, said: str) -> None:
        self._armed: dict[str, tuple[int, str]] = {}
        for one in filter(None, said.split(",")):
            step, _, rest = one.partition("@")
            times, _, action = rest.partition("=")
            if step not in STEPS or not times.isdigit() or action not in ("kill", "stop", "cut", "deaf"):
                raise WrongFailpoint(one)
            self._armed[step] = (int(times), action)

    def armed(self, step: str) -> bool:
        """Whether anything will happen at this step."""
        return step in self._armed

    def reach(self, step: str, wire: Wire | None = None) -> None:
        """Tell that a step is reached."""
        if step not in self._armed:
            return
        times, action = self._armed.pop(step)
        if times > 1:
            self._armed[step] = (times - 1, action)
            return
        os.write(2, f"failpoint {step} {action}\n".encode())  # at once: the process may not live to flush
        if action in ("kill", "stop"):
            os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
        elif wire is not None:
            with socket.socket(fileno=os.dup(wire.fileno())) as end:
                end.shutdown(socket.SHUT_RDWR if action == "cut" else socket.SHUT_RD)


_failpoints = Failpoints(os.environ.get("KEHU_FAIL", ""))
reach = _failpoints.reach
armed = _failpoints.armed
