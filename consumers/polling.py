"""Asks the store now and then what it holds, in a thread of its own, and tells it on."""

from collections.abc import Callable
from typing import Protocol

import structlog
from mode import Service

from consumers.one_thread import OneThread
from consumers.patience import Patience, Servers
from domain.errors import DomainError
from infra.figures import Held

log = structlog.get_logger("kehu.metrics")

POLL = 10.0
"""Seconds between two looks."""


class Holdings(Protocol):
    """Who knows what the store holds."""

    def read(self) -> Held:
        """What it holds now. Raises Unavailable."""

    def close(self) -> None:
        """Close the connection."""


class Polling(Service):
    """Tells `show` what the store holds, and None while it cannot be asked."""

    def __init__(self, holdings: Holdings, show: Callable[[Held | None], None], servers: Servers) -> None:
        super().__init__()
        self._holdings = holdings
        self._show = show
        self._store = servers.store
        self._patience = Patience(log, servers)
        self._thread = OneThread("kehu-metrics")

    async def on_stop(self) -> None:
        await self._thread.run(self._holdings.close)
        self._thread.shutdown()

    @Service.task
    async def _poll(self) -> None:
        while not self.should_stop:
            try:
                held = await self._thread.run(self._holdings.read)
            except (DomainError, OSError) as error:
                self._show(None)
                self._patience.failed("the metrics need the store", error)
                await self.sleep(self._patience.wait)
            else:
                self._show(held)
                self._patience.succeeded(self._store)
                await self.sleep(POLL)
