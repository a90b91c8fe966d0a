"""A worker's ingest inside a test, which waits for what it has counted."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient

from consumers.ingest import Ingest
from consumers.outcome import Outcome, Outcomes
from domain import registry
from domain.ports import EventLog, Message, Partition
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Fact
from infra import bootstrap
from infra.kafka import codec
from infra.kafka.topics import Topics, topic_of
from infra.postgres.log import PostgresLog
from infra.settings import Settings
from tests.support.builders import NOON, fact
from tests.support.processes import until

Encoded = tuple[bytes, bytes, list[tuple[str, bytes]]]
CUSTOMERS = 40


class Counted:
    """The outcomes so far; what was parked and then appended counts as one."""

    def __init__(self) -> None:
        self.outcomes = Outcomes()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Condition()

    def add(self, outcomes: Outcomes) -> None:
        """Told by the worker after each batch."""
        self.outcomes.update(outcomes)
        asyncio.run_coroutine_threadsafe(self._notify(), self._loop)

    async def until(self, messages: int, seconds: float = 30) -> None:
        """Wait until that many messages have an outcome."""
        async with self._changed, asyncio.timeout(seconds):
            await self._changed.wait_for(lambda: self.outcomes.total() >= messages)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def ingesting(settings: Settings, connect: Callable[[str], PostgresLog] = PostgresLog) -> AsyncIterator[Counted]:
    """A running ingest; stopped at the end."""
    counted = Counted()
    log = connect(settings.postgres)
    try:
        async with bootstrap.source(log, settings, counted.add):
            yield counted
    finally:
        log.close()


def stored(log: EventLog, facts: Iterable[Fact]) -> None:
    """Take facts into a log as their messages would, in this order."""
    now = NOON + timedelta(days=100)
    ingest = Ingest(log, bootstrap.decoder(lambda: now), lambda: now)
    offsets: Counter[Partition] = Counter()
    for one in facts:
        topic = topic_of(registry.of(one.data).name)
        partition = Partition(topic, topic, 0)
        if partition not in offsets:
            ingest.claim([partition, *offsets])
        key, value, headers = codec.structured(one)
        message = Message(partition, offsets[partition], 0, key, value, tuple(headers))
        assert ingest.take(ingest.read({partition: [message]})) == {Outcome.APPENDED: 1}, one
        offsets[partition] += 1


def survey(number: int) -> list[Fact]:
    """An invitation and its answer, of one of forty customers."""
    customer, invitation = f"c{number % CUSTOMERS}", f"i{number}"
    invited = SurveyInvited(invitation_id=invitation, metric="csat", scale=5, channel="app")
    answered = SurveyAnswered(invitation_id=invitation, score=number % 5 + 1)
    return [
        fact(invited, f"{number}a", customer=customer),
        fact(answered, f"{number}b", customer=customer),
    ]


async def publish(
    servers: str,
    messages: Sequence[Encoded],
    topic: str = "kehu.surveys",
    *,
    compression: str | None = None,
    partition: int | None = None,
) -> None:
    """Publish values with their keys and headers, in order."""
    async with AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=False, compression_type=compression
    ) as producer:
        sent = [await producer.send(topic, v, key=k, headers=h, partition=partition) for k, v, h in messages]
        await asyncio.gather(*sent)


def make_anew(servers: str, topics: Sequence[str], partitions: int = 2) -> None:
    """Delete topics if they exist, and make them again, empty and with other ids."""
    client, admin = KafkaAdminClient(bootstrap_servers=servers), Topics(servers)
    try:
        if known := [name for name, topic_id in admin.ids(topics).items() if topic_id]:
            client.delete_topics(known)
            until(lambda: not any(admin.ids(topics).values()), 20)
        admin.create(topics, partitions=partitions)
    finally:
        admin.close()
        client.close()
