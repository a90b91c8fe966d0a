"""The worker's Kafka side: whole batches from aiokafka into `Ingest`, positions from the event store.

A `mode` service, as Faust supervises them; but with its own consumer, since an agent works message by message.
The truth about positions is in PostgreSQL: partitions stay paused until they are claimed there, and whatever goes wrong
with a batch, they are paused and claimed again. What is committed to Kafka serves lag tools only. All work on the store
runs in one thread, so heartbeats go on while a transaction waits; a broker or store that is away is waited for.

While that thread stores a batch, the next one is fetched and decoded. It is worth something only if the one before was
stored and the partitions are still ours: otherwise it is dropped, and fetched again from the claimed positions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Protocol, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from mode import Service

from consumers.decoding import Fetched
from consumers.ingest import Ingest
from consumers.outcome import Outcomes
from consumers.patience import Patience, Servers
from consumers.reading import oldest, unread
from domain.errors import DomainError
from domain.ports import Conflict, Fenced, Message, Partition, Unavailable
from infra.errors import KehuError
from infra.failpoints import reach
from infra.figures import Reading
from infra.kafka.records import Record, as_they_are

log = structlog.get_logger("kehu.ingest")
T = TypeVar("T")

RETRYING = 0.2
"""Seconds of each second in which another round of parked messages is begun."""
AWAY = (DomainError, KehuError, KafkaError, OSError)
"""The store or the broker does not answer, or not as expected: try again later."""


class TopicMissing(KehuError):
    """A topic does not exist. Run `kehu setup`."""


class Changed(KehuError):
    """What is read is not what it was. The worker goes on where the store says."""


class Admin(Protocol):
    """What the source asks the broker beside messages."""

    def ids(self, names: Sequence[str]) -> Mapping[str, str | None]:
        """The id of each topic, None for one that does not exist."""

    def close(self) -> None:
        """Close the connection."""


Raw = Callable[[TopicPartition, int], Awaitable[Sequence[Record]]]
"""Messages from an offset on that the client cannot read, at least one; raises KehuError when nobody can."""


class KafkaSource(Service):
    """Feeds one `Ingest` from the partitions that the group gives to this process."""

    def __init__(
        self,
        ingest: Ingest,
        *,
        bootstrap: str,
        group: str,
        topics: Sequence[str],
        admin: Admin,
        raw: Raw,
        max_records: int = 2000,
        on_outcomes: Callable[[Outcomes], None] = lambda _outcomes: None,
        on_batch: Callable[[float, Mapping[str, int]], None] = lambda _seconds, _oldest: None,
        servers: Servers | None = None,
    ) -> None:
        """`on_batch` is told how many seconds a batch took, and topic -> timestamp (ms) of its oldest message."""
        super().__init__()
        self._ingest = ingest
        self._bootstrap, self._group, self._topics = bootstrap, group, list(topics)
        self._admin = admin
        self._raw = raw
        self._max_records = max_records
        self._on_outcomes, self._on_batch = on_outcomes, on_batch
        self.reading = Reading()
        self._claims = self._rebalances = 0
        self._partitions: dict[TopicPartition, Partition] = {}
        # Where to read on, for the partitions that are ours. Whoever loses them puts another dict in its place, so that
        # a batch that was fetched before can tell.
        self._next: dict[TopicPartition, int] = {}
        # Partitions that cannot be read, and where they stand until somebody moves their position.
        self._standing: dict[Partition, int] = {}
        self._claimed = True
        self._servers = servers or Servers.of(bootstrap)
        self._patience = Patience(log, self._servers)
        self._writing = asyncio.Lock()
        # Two threads: a broker that does not answer must not hold up the store.
        self._store_thread = ThreadPoolExecutor(1, thread_name_prefix="kehu-ingest")
        self._admin_thread = ThreadPoolExecutor(1, thread_name_prefix="kehu-admin")
        self._consumer: AIOKafkaConsumer | None = None
        self._committed_at = 0.0

    async def on_stop(self) -> None:
        self._next = {}
        async with self._writing:  # the batch in flight ends; a thread cannot be cancelled
            if self._claimed:
                await self._in_thread(self._store_thread, self._ingest.release)
        if self._consumer is not None:
            await self._consumer.stop()
        await self._in_thread(self._admin_thread, self._admin.close)
        self._store_thread.shutdown()
        self._admin_thread.shutdown()

    def on_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """The group gives us these partitions; `_read` claims them."""
        assert self._consumer is not None
        self._consumer.pause(*assigned)  # at once: partitions are live already
        self._claimed = False
        self._rebalances += 1

    async def on_revoked(self) -> None:
        """The group takes all partitions back."""
        self._next = {}  # what was fetched is dropped
        async with self._writing:
            self._next.clear()  # what was claimed meanwhile, too
            await self._in_thread(self._store_thread, self._ingest.release)

    @Service.task
    async def _read(self) -> None:
        consumer = await self._connected()
        if consumer is None:
            return
        storing: asyncio.Task[None] | None = None
        while not self.should_stop:
            if not self._claimed and self._patience.over:
                await self._claim()
            try:
                polled = await consumer.getmany(timeout_ms=200, max_records=self._max_records)
            except NoOffsetForPartitionError:
                continue  # raised once after an assignment, although the partition is paused
            except OffsetOutOfRangeError as error:
                await self._find_beginning(error)
                continue
            except Exception as error:
                if storing is not None:
                    await storing
                    storing = None
                await self._read_around(error)
                continue
            owned, batch = self._next, self._ahead(polled)
            if storing is not None:
                await storing
            storing = asyncio.create_task(self._store(owned, batch)) if batch else None
        if storing is not None:
            await storing

    async def _connected(self) -> AIOKafkaConsumer | None:
        """The consumer, once a broker answers; None when the worker is stopped before."""
        while not self.should_stop:
            # Offsets come from the event store alone: "none" makes a position that is not there an error, not a jump.
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                group_id=self._group,
                enable_auto_commit=False,
                key_deserializer=as_they_are,
                auto_offset_reset="none",
                isolation_level="read_committed",  # what a channel took back was never said
                max_partition_fetch_bytes=4 * 1024 * 1024,
                session_timeout_ms=6000,
                heartbeat_interval_ms=1000,
                max_poll_interval_ms=60_000,
                metadata_max_age_ms=5000,  # a topic that is made anew, or gets more partitions, is noticed within this
            )
            try:
                await consumer.start()
            except (KafkaError, OSError) as error:
                await consumer.stop()
                self._patience.failed(f"Kafka at {self._bootstrap} does not answer", error)
                await self.sleep(1.0)
            else:
                self._patience.succeeded(self._servers.broker)
                self._consumer = consumer
                consumer.subscribe(self._topics, listener=_Listener(self))
                return consumer
        return None

    async def _claim(self) -> None:
        """Become the owner of what the group gave us: positions from the store, then read on from there."""
        consumer = self._consumer
        assert consumer is not None
        tps = consumer.assignment()
        try:
            ids = await self._topic_ids() if tps else {}
            wanted = {}
            for tp in tps:
                topic_id = ids.get(tp.topic)
                if topic_id is None:
                    raise TopicMissing(tp.topic)
                wanted[tp] = Partition(tp.topic, topic_id, tp.partition)
            async with self._writing:
                if tps != consumer.assignment():
                    return  # another rebalance; the next round claims what it gave us
                positions = await self._in_thread(self._store_thread, self._ingest.claim, list(wanted.values()))
                if tps != consumer.assignment():
                    return
                for tp, partition in wanted.items():
                    self._partitions[tp] = partition
                    if self._standing.get(partition) != positions[partition]:
                        self._standing.pop(partition, None)
                        self._seek(tp, positions[partition])
                self._claimed = True
                self._claims += 1
        except AWAY as error:
            self._patience.failed("partitions are not claimed yet", error)
        else:
            self._patience.succeeded(self._servers.store)

    async def _topic_ids(self) -> Mapping[str, str | None]:
        ids = await self._in_thread(self._admin_thread, self._admin.ids, self._topics)
        self._servers.broker.answered(self._patience)
        return ids

    def _seek(self, tp: TopicPartition, offset: int) -> None:
        assert self._consumer is not None
        self._consumer.seek(tp, offset)
        self._next[tp] = offset
        self._consumer.resume(tp)

    def _claim_again(self, error: Exception) -> None:
        """Fenced, or the outcome is unknown: only the store knows the positions."""
        assert self._consumer is not None
        self._consumer.pause(*self._consumer.assignment())
        self._next = {}
        self._claimed = False
        self._patience.failed("asking the store for the positions", error)

    def _go_back(self) -> None:
        """Read on from what is stored; what was fetched ahead is dropped."""
        tps, self._next = list(self._next), {}
        for tp in tps:
            self._seek(tp, self._ingest.positions[self._partitions[tp]])

    def _ahead(self, polled: Mapping[TopicPartition, Sequence[Record]]) -> Fetched:
        """What was polled, decoded; without partitions that are no longer ours."""
        batch: dict[Partition, list[Message]] = {}
        for tp, records in polled.items():
            following = self._next.get(tp)
            if following is None:
                continue
            partition = self._partitions[tp]
            messages = [_message(partition, r) for r in records if r.offset >= following]
            if messages:
                batch[partition] = messages
                self._next[tp] = messages[-1].offset + 1
        return self._ingest.read(batch)

    async def _store(self, owned: Mapping[TopicPartition, int], batch: Fetched) -> None:
        async with self._writing:
            if owned is not self._next:
                return
            started = monotonic()
            reach("polled")
            try:
                outcomes = await self._in_thread(self._store_thread, self._ingest.take, batch)
            except (Fenced, Conflict, Unavailable) as error:
                self._claim_again(error)
                return
            reach("answered")
            self._on_outcomes(outcomes)
            self._on_batch(monotonic() - started, oldest(batch))
            if self._ingest.is_partial(batch):
                self._go_back()
        await self._tell_kafka()

    async def _read_around(self, error: Exception) -> None:
        """The client cannot read what it fetched: read it another way.

        Where nobody can read it the partition stands still, and the others go on.
        """
        consumer = self._consumer
        assert consumer is not None
        for tp, offset in list(self._next.items()):
            if tp not in consumer.assignment() or (consumer.highwater(tp) or 0) <= offset:
                continue  # nothing was fetched of it
            consumer.seek(tp, offset)
            try:
                await consumer.getmany(tp, timeout_ms=500, max_records=self._max_records)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError):
                continue
            except Exception as why:
                place = {"topic": tp.topic, "partition": tp.partition, "offset": offset}
                log.warning("the client cannot read a message", **place, error=f"{type(why).__name__}: {why}")
                try:
                    records = (await self._raw(tp, offset))[: self._max_records]
                except KehuError as damaged:
                    self._standing[self._partitions[tp]] = offset
                    log.error("partition stands still", **place, error=str(damaged))
                except (KafkaError, OSError) as away:
                    log.warning("the broker does not answer", **place, error=str(away))
                else:
                    await self._store(self._next, self._ahead({tp: records}))
        self._claim_again(error)  # what was fetched to find out is read again

    async def _find_beginning(self, error: OffsetOutOfRangeError) -> None:
        """A position is not in its topic: the topic was made anew, or its oldest messages were deleted unread."""
        consumer = self._consumer
        assert consumer is not None
        self._claim_again(error)
        await self._claim()
        try:
            starts = await consumer.beginning_offsets(list(self._next))
        except (KafkaError, OSError) as away:
            self._claim_again(away)
            return
        for tp, start in starts.items():
            at, end = self._next.get(tp, start), consumer.highwater(tp)
            if end is not None and at > end:
                # Whatever is written there next would be taken for read already.
                self._standing[self._partitions[tp]] = at
                log.error("the broker has lost messages", topic=tp.topic, partition=tp.partition, position=at, end=end)
                consumer.pause(tp)
                del self._next[tp]
            elif at < start:
                first, last = at, start - 1
                log.error(
                    "messages were deleted unread", topic=tp.topic, partition=tp.partition, first=first, last=last
                )
                self._seek(tp, start)

    @Service.timer(2.0)
    async def _watch_topics(self) -> None:
        """A topic that was deleted and made anew has another id, and its positions start at 0.

        A partition that stands still goes on when an operator moved its position.
        """
        if self._consumer is None or not self._claimed:
            return
        try:
            ids = await self._topic_ids()
        except AWAY as error:
            self._servers.broker.failed(self._patience, error)
            return  # a broker that is away holds nothing up here: there is nothing to read either
        async with self._writing:
            assert self._consumer is not None
            mine = self._consumer.assignment()
            if any(p.topic_id != ids.get(tp.topic) for tp, p in self._partitions.items() if tp in mine):
                self._claim_again(Changed("a topic was made anew"))
            standing = {
                p: self._standing[p] for tp, p in self._partitions.items() if tp in mine and p in self._standing
            }
            try:
                if not standing or not await self._in_thread(self._store_thread, self._ingest.moved, standing):
                    return
            except AWAY:
                return
            else:
                self._claim_again(Changed("somebody moved the position of a partition that stands still"))

    @Service.timer(1.0)
    async def _retry_parked(self) -> None:
        """Again and again while messages leave their queues, but never for long: what comes new must not wait."""
        until = monotonic() + RETRYING
        outcomes: Outcomes | None = None
        while outcomes is None or (outcomes and monotonic() < until):
            async with self._writing:
                if not self._next:
                    return
                try:
                    outcomes = await self._in_thread(self._store_thread, self._ingest.retry_parked)
                except (Fenced, Conflict, Unavailable) as error:
                    self._claim_again(error)
                    return
                self._on_outcomes(outcomes)

    @Service.timer(2.0)
    async def _look(self) -> None:
        self._servers.store.look()
        if (consumer := self._consumer) is None:
            return
        assigned = consumer.assignment()
        standing = sum(self._partitions.get(tp) in self._standing for tp in assigned)
        left = unread(self._next, assigned, consumer.highwater)
        self.reading = Reading(len(assigned), len(self._next), standing, left, self._claims, self._rebalances)

    async def _tell_kafka(self) -> None:
        if monotonic() - self._committed_at < 1.0 or not self._next:
            return
        assert self._consumer is not None
        self._committed_at = monotonic()
        stored = self._ingest.positions
        offsets = {tp: OffsetAndMetadata(stored[self._partitions[tp]], "") for tp in self._next}
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), 2)
        except (KafkaError, TimeoutError) as error:
            log.debug("offsets not committed to Kafka; positions are safe", error=str(error))

    async def _in_thread(self, thread: ThreadPoolExecutor, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, call, *args)


class _Listener(ConsumerRebalanceListener):
    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._source.on_revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._source.on_assigned(assigned)


def _message(partition: Partition, record: Record) -> Message:
    return Message(
        partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )
