"""What the services do about a server that is away: say so once, try again, and say once that it goes on."""

from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from domain.ports import Unavailable
from infra.errors import ServerUnavailable

LONGEST_WAIT = 5.0
"""Seconds between two tries at most."""
SILENT = 15.0
"""Seconds without an answer after which the store counts as away although nothing failed: services ask it each second,
so one that is frozen or very slow is noticed too."""


class Server:
    """A server as all services of this process find it: away while one of them waits for it.

    However many wait, one line says that it is away and one that they go on. Told by one thread, asked by any.
    """

    def __init__(self, name: str, silent: float = float("inf")) -> None:
        """It is away, too, when it does not answer for `silent` seconds."""
        self.name = name
        self._silent = silent
        self._log = structlog.get_logger("kehu.servers")
        self._waiting: set[object] = set()
        self._since = self._answered_at = monotonic()
        self._known = False

    @property
    def away(self) -> float | None:
        """Seconds since its last answer, or since the process started; None when it has answered and nobody waits."""
        return None if self._known and not self._waiting else monotonic() - self._answered_at

    def look(self) -> None:
        """Wait for it when it is silent for too long."""
        silent = monotonic() - self._answered_at
        if self._known and not self._waiting and silent >= self._silent:
            self.failed(self, TimeoutError(f"no answer for {silent:.0f} s"))

    def failed(self, by: object, error: BaseException) -> None:
        """This service waits for it."""
        if not self._waiting:
            self._since = monotonic()
            self._log.warning(f"waiting for {self.name}", error=one_line(error))
        self._waiting.add(by)

    def answered(self, by: object) -> None:
        """It answered this service, which waits no more."""
        self._known, self._answered_at = True, monotonic()
        self._goes_on(by, self)

    def spared(self, by: object) -> None:
        """This service does not need it any more."""
        self._goes_on(by)

    def _goes_on(self, *by: object) -> None:
        if not self._waiting.isdisjoint(by):
            self._waiting.difference_update(by)
            if not self._waiting:
                self._log.warning(f"going on with {self.name}", waited_seconds=round(monotonic() - self._since, 1))


@dataclass(frozen=True, slots=True)
class Servers:
    """What the services of one process wait for."""

    store: Server
    broker: Server

    @classmethod
    def of(cls, kafka: str) -> "Servers":
        """The event store, and the broker at this address."""
        return cls(Server("PostgreSQL", SILENT), Server(f"Kafka at {kafka}"))


class Patience:
    """What one service waits for. It waits longer from time to time, and says once what is no server's fault."""

    def __init__(self, log: Any, servers: Servers) -> None:
        self._log = log
        self._servers = servers
        self._since: float | None = None
        self._wait = 0.1
        self._until = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._until - monotonic())

    @property
    def over(self) -> bool:
        """Whether it is time to try again."""
        return monotonic() >= self._until

    def failed(self, what: str, error: BaseException) -> None:
        """It does not go on: try again later."""
        if server := self._blamed(error):
            server.failed(self, error)
        elif self._since is None:
            self._since = monotonic()
            self._log.warning(f"waiting: {what}", error=one_line(error))
        self._until = monotonic() + self._wait
        self._wait = min(self._wait * 2, LONGEST_WAIT)

    def succeeded(self, *answered: Server) -> None:
        """It goes on, since these servers answered; no other is waited for."""
        for server in answered:
            server.answered(self)
        self._servers.store.spared(self)
        self._servers.broker.spared(self)
        if self._since is not None:
            self._log.warning("going on", waited_seconds=round(monotonic() - self._since, 1))
        self._since, self._wait, self._until = None, 0.1, 0.0

    def _blamed(self, error: BaseException) -> Server | None:
        if isinstance(error, Unavailable):
            return self._servers.store
        return self._servers.broker if isinstance(error, KafkaError | ServerUnavailable | OSError) else None


def one_line(error: BaseException) -> str:
    """What the error says, without line breaks."""
    return " ".join(str(error).split())
