"""Seals what came into the log and tells the heads to places outside the database."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol

import structlog
from mode import Service

from consumers.one_thread import OneThread
from consumers.patience import Patience, Servers
from domain.errors import DomainError
from domain.heads import Head
from infra.errors import KehuError
from infra.failpoints import reach
from infra.postgres.seals import Seals
from infra.postgres.tree import HolesInTheLog, TreeDamaged

log = structlog.get_logger("kehu.sealer")
AT_ONCE = 1000
"""Heads that are told together."""
POLL = 30.0
"""Seconds after which the log is looked at although nobody said that it moved."""
PIECE = 1.0
"""Seconds after which a worker that rests sees that it is to stop."""


class Anchor(Protocol):
    """A place outside the database where heads are kept. What is told twice does no harm."""

    @property
    def name(self) -> str:
        """By which it is known how far it was told."""

    def tell(self, heads: Sequence[Head]) -> None:
        """Keep these heads, smallest first; when it returns they are safe."""


class Sealer:
    """What the service does, step by step; in one thread."""

    def __init__(
        self, seals: Seals, sign: Callable[[Head], Head], anchors: Sequence[Anchor], clock: Callable[[], datetime]
    ) -> None:
        self._seals = seals
        self._sign = sign
        self._anchors = anchors
        self._clock = clock

    def run_once(self, told: Callable[[int], None] = lambda _events: None) -> int:
        """Seal all that is new, reads of personal data among it, and tell every anchor; how many heads were made.

        `told` hears how many events were sealed since.

        What was sealed is not read again: an event that was edited since is named by `kehu audit verify` and stops
        nothing. Raises HolesInTheLog and TreeDamaged: then nothing is sealed, and `kehu audit verify` says what was
        changed.
        """
        made = 0
        self._seals.cover_reads(self._clock())
        while self._seals.seal(self._sign, self._clock(), told) is not None:
            made += 1
        for anchor in self._anchors:
            while heads := self._seals.heads(self._seals.anchored(anchor.name), AT_ONCE):
                anchor.tell(heads)
                reach("anchored")
                self._seals.anchor(anchor.name, heads[-1].size)
        return made

    def close(self) -> None:
        """Close the connection."""
        self._seals.close()


class SealerService(Service):
    """Runs the sealer after the log moved, and not more often than `every`; servers that are away are waited for.

    `wait(seconds)` blocks until the log moved, and not longer than so many seconds. While nothing happens the sealer
    only looks every `POLL` seconds, for what nobody told it.
    """

    def __init__(self, sealer: Sealer, every: timedelta, wait: Callable[[float], None], servers: Servers) -> None:
        super().__init__()
        self._sealer = sealer
        self._every = every.total_seconds()
        self._wait = wait
        self._servers = servers
        self._patience = Patience(log, servers)
        self._thread = OneThread("kehu-sealer")

    async def on_stop(self) -> None:
        await self._thread.run(self._sealer.close)
        self._thread.shutdown()

    @Service.task
    async def _seal(self) -> None:
        damaged = False
        while not self.should_stop:
            pause, rests = self._every, True
            try:
                await self._thread.run(self._sealer.run_once)
                self._patience.succeeded(self._servers.store)
                damaged = False
            except (HolesInTheLog, TreeDamaged) as error:
                if not damaged:
                    log.error("nothing is sealed any more: `kehu audit verify` says what was changed", error=str(error))
                damaged, pause = True, max(pause, POLL)
            except (DomainError, KehuError, OSError) as error:
                self._patience.failed("the sealer needs the store and its anchors", error)
                # Tried again then, and not when the log has moved.
                pause, rests = self._patience.wait, False
            await self.sleep(pause)
            if rests and not self.should_stop:
                await self._thread.run(self._rest)

    def _rest(self) -> None:
        # In short pieces, so that a worker that is stopped need not wait for an event.
        until = monotonic() + POLL
        while not self.should_stop and (left := until - monotonic()) > 0:
            began = monotonic()
            self._wait(min(left, PIECE))
            if monotonic() - began < PIECE:
                return
