"""Runs a `Projector` in a thread of its own while the worker lives: fold what is new, then wait for more."""

from collections.abc import Callable
from datetime import datetime
from time import monotonic

import structlog
from mode import Service

from consumers.one_thread import OneThread
from consumers.patience import Patience, Servers
from consumers.projector import Projector
from domain.errors import DomainError

log = structlog.get_logger("kehu.projector")

POLL = 0.5
"""Seconds after which the log is looked at although nobody said that it moved."""
SWEEP = 1.0
"""Seconds between two looks for rows whose time has come."""


class ProjectorService(Service):
    """Keeps the read models up with the log; a store that is away is waited for.

    `wait(seconds)` blocks until the log moved, and not longer than so many seconds.
    """

    def __init__(
        self, projector: Projector, clock: Callable[[], datetime], wait: Callable[[float], None], servers: Servers
    ) -> None:
        super().__init__()
        self._projector = projector
        self._clock = clock
        self._wait = wait
        self._swept = 0.0
        self._store = servers.store
        self._patience = Patience(log, servers)
        self._thread = OneThread("kehu-projector")

    async def on_stop(self) -> None:
        self._thread.shutdown()

    @Service.task
    async def _project(self) -> None:
        while not self.should_stop:
            try:
                await self._thread.run(self._once)
                self._patience.succeeded(self._store)
            except (DomainError, OSError) as error:
                self._patience.failed("read models need the store", error)
                await self.sleep(self._patience.wait)

    def _once(self) -> None:
        if self._projector.run_once():
            return
        if monotonic() - self._swept >= SWEEP:
            self._projector.sweep(self._clock())
            self._swept = monotonic()
        self._wait(POLL)
