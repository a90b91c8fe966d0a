"""Missed deadlines become events: what is over and not on record is published as `complaint.deadline-missed`.

It takes the one way in, through Kafka, so a case decides on it in its order with all other facts about it: one that was
resolved in time, and whose resolution is still on its way, is no miss. Its id follows from the case, the clock and the
deadline. So it counts once, after a restart, a rebuild, or when two workers say it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol

import structlog
from mode import Service

from consumers.one_thread import OneThread
from consumers.patience import Patience, Servers
from domain.errors import DomainError
from domain.values import Fact
from infra.errors import KehuError
from infra.kafka import codec
from infra.kafka.producer import Outgoing, publish
from infra.kafka.topics import topic_of
from infra.postgres.running_deadlines import Place, place_of

log = structlog.get_logger("kehu.clocks")

LOOK = 5.0
"""Seconds between two looks. A look reads an index, and nothing when nothing is over."""
AT_ONCE = 500
"""Reports of one look at most, so that an hour's outage ends in no flood."""
REPEAT = 60.0
"""Seconds after which a report that is not on record is published again."""


class Deadlines(Protocol):
    """Who knows which deadlines are over."""

    def over(self, now: datetime, since: datetime, limit: int, after: Place | None = None) -> Sequence[Fact]:
        """What is over and not on record, behind a place. Raises Unavailable."""

    def close(self) -> None:
        """Close the connection."""


class Reported:
    """What was published and is not on record yet: it is on its way, and not said again for a while."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._at: dict[str, float] = {}

    def new(self, facts: Sequence[Fact]) -> list[Fact]:
        """Those that were not published lately."""
        now = self._clock()
        self._at = {name: at for name, at in self._at.items() if now - at < REPEAT}
        return [fact for fact in facts if fact.meta.event_id not in self._at]

    def add(self, facts: Sequence[Fact]) -> None:
        """These were published."""
        self._at.update(dict.fromkeys((fact.meta.event_id for fact in facts), self._clock()))


def outgoing(fact: Fact) -> Outgoing:
    """A report as a message."""
    key, value, headers = codec.structured(fact)
    return topic_of("complaint.deadline-missed"), key, value, headers


class DeadlineWatch(Service):
    """Looks every five seconds, as far back as `reach`; a broker or store that is away is waited for."""

    def __init__(
        self,
        deadlines: Deadlines,
        bootstrap: str,
        reach: timedelta,
        clock: Callable[[], datetime],
        servers: Servers | None = None,
    ) -> None:
        super().__init__()
        self._deadlines = deadlines
        self._bootstrap = bootstrap
        self._reach = reach
        self._clock = clock
        self._reported = Reported()
        self._servers = servers or Servers.of(bootstrap)
        self._patience = Patience(log, self._servers)
        self._thread = OneThread("kehu-clocks")

    async def on_stop(self) -> None:
        await self._thread.run(self._deadlines.close)
        self._thread.shutdown()

    @Service.task
    async def _watch(self) -> None:
        after: Place | None = None
        while not self.should_stop:
            try:
                now = self._clock()
                over: Sequence[Fact] = await self._thread.run(
                    self._deadlines.over, now, now - self._reach, AT_ONCE, after
                )
                if new := self._reported.new(over):
                    await publish(self._bootstrap, map(outgoing, new))
                    self._servers.broker.answered(self._patience)
                    self._reported.add(new)
                self._patience.succeeded(self._servers.store)
            except (DomainError, KehuError) as error:
                self._patience.failed("missed deadlines need the store and their topic", error)
                await self.sleep(self._patience.wait)
            else:
                after = place_of(over[-1]) if len(over) == AT_ONCE else None
                await self.sleep(LOOK)
