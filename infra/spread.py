"""Work that several processes share, and whose results one process takes piece by piece."""

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Self

from infra import interpreter
from infra.errors import KehuError

Send = Callable[[Any], None]
Work = Callable[[Send], None]
"""What is done in another process: it sends what it finds. It is pickled, and so is what it sends."""


class ProcessEnded(KehuError):
    """A process of this command was ended from outside. Run the command again; with less memory, by one process."""


class Spread:
    """Works under way in other processes, until the block ends: then those that are not done are ended.

    A process waits while what it sent is not taken, and ends with the one that takes it.
    """

    def __init__(self, works: Sequence[Work], processes: int) -> None:
        context = get_context("spawn")
        self._started: list[tuple[BaseProcess, Connection]] = []
        self._left: list[Connection] = []
        try:
            for number in range(min(processes, len(works))):
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(theirs, works[number::processes]), daemon=True)
                process.start()
                theirs.close()  # so that the end of the process is the end of what can be received
                self._started.append((process, ours))
                self._left.append(ours)
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        for process, ours in self._started:
            process.terminate()
            process.join()
            ours.close()

    def arrived(self) -> Iterator[Any]:
        """What was sent and has arrived, without waiting. What a work raised is raised here."""
        yield from self._taken(0)

    def __iter__(self) -> Iterator[Any]:
        """All that is sent, as it comes, until the works are done. What one of them raised is raised here."""
        while self._left:
            yield from self._taken(None)

    def _taken(self, seconds: float | None) -> Iterator[Any]:
        for ours in [one for one in wait(self._left, seconds) if isinstance(one, Connection)]:
            found, error, over = _received(ours)
            if error is not None:
                raise error
            if over:
                self._left.remove(ours)
            else:
                yield found


def spread(works: Sequence[Work], processes: int) -> Generator[Any, None, None]:
    """What the works send, as it comes. What one of them raises is raised here, and the others are ended."""
    with Spread(works, processes) as under_way:
        yield from under_way


def _received(ours: Connection) -> tuple[Any, BaseException | None, bool]:
    try:
        found: tuple[Any, BaseException | None, bool] = ours.recv()
    except EOFError:
        return None, ProcessEnded("it had not sent all"), True
    return found


def _work(theirs: Connection, works: Sequence[Work]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all: the one that takes ends the others
    Thread(target=_end_with_parent, daemon=True).start()
    interpreter.calm_garbage()
    try:
        for work in works:
            work(lambda found: theirs.send((found, None, False)))
        theirs.send((None, None, True))
    except BrokenPipeError:
        return  # nobody takes it any more
    except Exception as error:
        theirs.send((None, error, True))


def _end_with_parent() -> None:
    """A command that is killed leaves no process behind, also where it works for long without anything to send."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
