"""The worker's Kafka side: whole batches from aiokafka into `Ingest`, positions from the event store.

A `mode` service, as Faust supervises them; but with its own consumer, since an agent works message by message.
The truth about positions is in PostgreSQL: partitions stay paused until they are claimed there, and whatever goes wrong
with a batch, they are paused and claimed again. What is committed to Kafka serves lag tools only. All work on the store
runs in one thread, so heartbeats go on while a transaction waits; a broker or store that is away is waited for.

While that thread stores a batch, the next one is fetched and decoded. It is worth something only if the one before was
stored and the partitions are still ours: otherwise it is dropped, and fetched again from the claimed positions.

Which partitions are ours, and where each is read on, is kept in `consumers.assignment`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import monotonic

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from mode import Service

from consumers.assignment import Assignment
from consumers.decoding import Fetched, oldest
from consumers.ingest import Ingest
from consumers.one_thread import OneThread
from consumers.outcome import Outcomes
from consumers.patience import Patience, Servers
from domain.errors import DomainError
from domain.ports import Admin, Conflict, Fenced, Unavailable
from infra.errors import KehuError
from infra.failpoints import reach
from infra.figures import Reading
from infra.kafka import consumer
from infra.kafka.records import Record

log = structlog.get_logger("kehu.ingest")

RETRYING = 0.2
"""Seconds of each second in which another round of parked messages is begun."""
AWAY = (DomainError, KehuError, KafkaError, OSError)
"""The store or the broker does not answer, or not as expected: try again later."""


class Changed(KehuError):
    """What is read is not what it was. The worker goes on where the store says."""


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
        self._servers = servers or Servers.of(bootstrap)
        self._patience = Patience(log, self._servers)
        self._writing = asyncio.Lock()
        # Two threads: a broker that does not answer must not hold up the store.
        self._store_thread = OneThread("kehu-ingest")
        self._admin_thread = OneThread("kehu-admin")
        self._ours: Assignment | None = None  # since a broker answered
        self._committed_at = 0.0

    async def on_stop(self) -> None:
        if (ours := self._ours) is not None:
            ours.lose()
            async with self._writing:  # the batch in flight ends; a thread cannot be cancelled
                if ours.claimed:
                    await self._store_thread.run(self._ingest.release)
            await ours.consumer.stop()
        await self._admin_thread.run(self._admin.close)
        self._store_thread.shutdown()
        self._admin_thread.shutdown()

    async def on_revoked(self, ours: Assignment) -> None:
        """The group takes all partitions back."""
        ours.lose()
        async with self._writing:
            ours.lose()  # what was claimed meanwhile, too
            await self._store_thread.run(self._ingest.release)

    @Service.task
    async def _read(self) -> None:
        ours = self._ours = await self._connected()
        if ours is None:
            return
        storing: asyncio.Task[None] | None = None
        while not self.should_stop:
            if not ours.claimed and self._patience.over:
                await self._claim(ours)
            try:
                polled = await ours.consumer.getmany(timeout_ms=500, max_records=self._max_records)
            except NoOffsetForPartitionError:
                continue  # raised once after an assignment, although the partition is paused
            except OffsetOutOfRangeError as error:
                await self._find_beginning(ours, error)
                continue
            except Exception as error:
                if storing is not None:
                    await storing
                    storing = None
                await self._read_around(ours, error)
                continue
            owned, batch = ours.read_on, self._ingest.read(ours.ahead(polled))
            if storing is not None:
                await storing
            storing = asyncio.create_task(self._store(ours, owned, batch)) if batch else None
            await asyncio.sleep(0)  # or it would begin when the next batch is read: messages may be there already
        if storing is not None:
            await storing

    async def _connected(self) -> Assignment | None:
        """A consumer that was given nothing yet, once a broker answers; None when the worker is stopped before."""
        while not self.should_stop:
            made = consumer.make(self._bootstrap, self._group)
            try:
                await made.start()
            except (KafkaError, OSError) as error:
                await made.stop()
                self._patience.failed(f"Kafka at {self._bootstrap} does not answer", error)
                await self.sleep(1.0)
            else:
                self._patience.succeeded(self._servers.broker)
                ours = Assignment(made)
                made.subscribe(self._topics, listener=_Listener(self, ours))
                return ours
        return None

    async def _claim(self, ours: Assignment) -> None:
        """Become the owner of what the group gave us: positions from the store, then read on from there."""
        try:
            wanted = ours.wanted(await self._topic_ids() if ours.consumer.assignment() else {})
            async with self._writing:
                if not ours.is_still(wanted):
                    return  # another rebalance; the next round claims what it gave us
                positions = await self._store_thread.run(self._ingest.claim, list(wanted.values()))
                if not ours.is_still(wanted):
                    return
                ours.claim(wanted, positions)
        except AWAY as error:
            self._patience.failed("partitions are not claimed yet", error)
        else:
            self._patience.succeeded(self._servers.store)

    async def _topic_ids(self) -> Mapping[str, str | None]:
        ids = await self._admin_thread.run(self._admin.ids, self._topics)
        self._servers.broker.answered(self._patience)
        return ids

    def _claim_again(self, ours: Assignment, error: Exception) -> None:
        """Fenced, or the outcome is unknown: only the store knows the positions."""
        ours.unclaim()
        self._patience.failed("asking the store for the positions", error)

    async def _store(self, ours: Assignment, owned: Mapping[TopicPartition, int], batch: Fetched) -> None:
        """Store a batch, if what was owned when it was fetched is so still."""
        async with self._writing:
            if owned is not ours.read_on:
                return
            started = monotonic()
            reach("polled")
            try:
                outcomes = await self._store_thread.run(self._ingest.take, batch)
            except (Fenced, Conflict, Unavailable) as error:
                self._claim_again(ours, error)
                return
            reach("answered")
            self._on_outcomes(outcomes)
            self._on_batch(monotonic() - started, oldest(batch))
            if self._ingest.is_partial(batch):
                ours.go_back(self._ingest.positions)
        await self._tell_kafka(ours)

    async def _read_around(self, ours: Assignment, error: Exception) -> None:
        """The client cannot read what it fetched: read it another way.

        Where nobody can read it the partition stands still, and the others go on.
        """
        for tp, offset in list(ours.read_on.items()):
            if tp not in ours.consumer.assignment() or (ours.consumer.highwater(tp) or 0) <= offset:
                continue  # nothing was fetched of it
            ours.consumer.seek(tp, offset)
            try:
                await ours.consumer.getmany(tp, timeout_ms=500, max_records=self._max_records)
            except (NoOffsetForPartitionError, OffsetOutOfRangeError):
                continue
            except Exception as why:
                place = {"topic": tp.topic, "partition": tp.partition, "offset": offset}
                log.warning("the client cannot read a message", **place, error=f"{type(why).__name__}: {why}")
                try:
                    records = (await self._raw(tp, offset))[: self._max_records]
                except KehuError as damaged:
                    ours.stand_still(tp, offset)
                    log.error("partition stands still", **place, error=str(damaged))
                except (KafkaError, OSError) as away:
                    log.warning("the broker does not answer", **place, error=str(away))
                else:
                    await self._store(ours, ours.read_on, self._ingest.read(ours.ahead({tp: records})))
        self._claim_again(ours, error)  # what was fetched to find out is read again

    async def _find_beginning(self, ours: Assignment, error: OffsetOutOfRangeError) -> None:
        """A position is not in its topic: the topic was made anew, or its oldest messages were deleted unread."""
        self._claim_again(ours, error)
        await self._claim(ours)
        try:
            starts = await ours.consumer.beginning_offsets(list(ours.read_on))
        except (KafkaError, OSError) as away:
            self._claim_again(ours, away)
            return
        for tp, start in starts.items():
            at, end = ours.read_on.get(tp, start), ours.consumer.highwater(tp)
            if end is not None and at > end:
                # Whatever is written there next would be taken for read already.
                ours.stand_still(tp, at)
                log.error("the broker has lost messages", topic=tp.topic, partition=tp.partition, position=at, end=end)
            elif at < start:
                first, last = at, start - 1
                log.error(
                    "messages were deleted unread", topic=tp.topic, partition=tp.partition, first=first, last=last
                )
                ours.seek(tp, start)

    @Service.timer(2.0)
    async def _watch_topics(self) -> None:
        """A topic that was deleted and made anew has another id, and its positions start at 0.

        A partition that stands still goes on when an operator moved its position.
        """
        ours = self._ours
        if ours is None or not ours.claimed:
            return
        try:
            ids = await self._topic_ids()
        except AWAY as error:
            self._servers.broker.failed(self._patience, error)
            return  # a broker that is away holds nothing up here: there is nothing to read either
        async with self._writing:
            if ours.is_made_anew(ids):
                self._claim_again(ours, Changed("a topic was made anew"))
            standing = ours.standing()
            try:
                if not standing or not await self._store_thread.run(self._ingest.moved, standing):
                    return
            except AWAY:
                return
            else:
                self._claim_again(ours, Changed("somebody moved the position of a partition that stands still"))

    @Service.timer(1.0)
    async def _retry_parked(self) -> None:
        """Again and again while messages leave their queues, but never for long: what comes new must not wait."""
        until = monotonic() + RETRYING
        outcomes: Outcomes | None = None
        while outcomes is None or (outcomes and monotonic() < until):
            async with self._writing:
                ours = self._ours
                if ours is None or not ours.read_on:
                    return
                try:
                    outcomes = await self._store_thread.run(self._ingest.retry_parked)
                except (Fenced, Conflict, Unavailable) as error:
                    self._claim_again(ours, error)
                    return
                self._on_outcomes(outcomes)

    @Service.timer(2.0)
    async def _look(self) -> None:
        self._servers.store.look()
        if self._ours is not None:
            self.reading = self._ours.look()

    async def _tell_kafka(self, ours: Assignment) -> None:
        if monotonic() - self._committed_at < 1.0 or not ours.read_on:
            return
        self._committed_at = monotonic()
        offsets = {tp: OffsetAndMetadata(at, "") for tp, at in ours.stored(self._ingest.positions).items()}
        try:
            await asyncio.wait_for(ours.consumer.commit(offsets), 2)
        except (KafkaError, TimeoutError) as error:
            log.debug("offsets not committed to Kafka; positions are safe", error=str(error))


class _Listener(ConsumerRebalanceListener):
    def __init__(self, source: KafkaSource, ours: Assignment) -> None:
        self._source = source
        self._ours = ours

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._source.on_revoked(self._ours)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._ours.give(assigned)
