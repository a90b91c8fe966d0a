"""Runs a `Projector` in a thread of its own while the worker lives: fold what is new, then wait a moment."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import structlog
from mode import Service

from consumers.patience import Patience
from consumers.projector import Projector
from domain.errors import DomainError

log = structlog.get_logger("kehu.projector")


class ProjectorService(Service):
    """Keeps the read models up with the log; a store that is away is waited for."""

    def __init__(self, projector: Projector, clock: Callable[[], datetime], *, idle: float = 0.1) -> None:
        super().__init__()
        self._projector = projector
        self._clock = clock
        self._idle = idle
        self._patience = Patience(log)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kehu-projector")

    async def on_stop(self) -> None:
        self._thread.shutdown()

    @Service.task
    async def _project(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.should_stop:
            try:
                folded = await loop.run_in_executor(self._thread, self._projector.run_once)
                if not folded:
                    await loop.run_in_executor(self._thread, self._projector.sweep, self._clock())
                    await self.sleep(self._idle)
                self._patience.succeeded()
            except (DomainError, OSError) as error:
                self._patience.failed("read models need the store", error)
                await self.sleep(self._patience.wait)
