"""The worker's Kafka side: whole batches from aiokafka into `Ingest`, positions from the event store.

A `mode` service, as Faust supervises them; but with its own consumer, since an agent works message by message.
The truth about positions is in PostgreSQL: on assignment the consumer seeks there; what is committed to Kafka serves
lag tools only. All work on the store runs in one thread, so heartbeats go on while a transaction waits.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Protocol, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from mode import Service

from consumers.ingest import Ingest
from consumers.outcome import Outcomes
from domain.errors import DomainError
from domain.ports import Conflict, Fenced, Message, Partition, Unavailable

log = structlog.get_logger("kehu.ingest")
T = TypeVar("T")


class Admin(Protocol):
    """What the source asks the broker beside messages."""

    def ids(self, names: Sequence[str]) -> Mapping[str, str | None]:
        """The id of each topic, None for one that does not exist."""

    def close(self) -> None:
        """Close the connection."""


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
        max_records: int = 2000,
        on_outcomes: Callable[[Outcomes, float], None] = lambda _outcomes, _seconds: None,
    ) -> None:
        super().__init__()
        self._ingest = ingest
        self._bootstrap, self._group, self._topics = bootstrap, group, list(topics)
        self._admin = admin
        self._max_records = max_records
        self._on_outcomes = on_outcomes
        self._partitions: dict[TopicPartition, Partition] = {}
        self._next: dict[TopicPartition, int] = {}
        self._writing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kehu-ingest")
        self._consumer: AIOKafkaConsumer | None = None
        self._committed_at = 0.0

    async def on_start(self) -> None:
        # Offsets come from the event store alone: "none" makes a position that is not there an error, not a jump.
        self._consumer = consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=4 * 1024 * 1024,
            session_timeout_ms=6000,
            heartbeat_interval_ms=1000,
            max_poll_interval_ms=60_000,
        )
        consumer.subscribe(self._topics, listener=_Listener(self))
        await consumer.start()

    async def on_stop(self) -> None:
        self._next.clear()
        async with self._writing:
            pass
        if self._consumer is not None:
            await self._consumer.stop()
        await self._in_thread(self._admin.close)
        self._thread.shutdown()

    async def on_assigned(self, tps: Collection[TopicPartition]) -> None:
        assert self._consumer is not None
        self._consumer.pause(*tps)  # before the first await: partitions are live already
        for attempt in range(10):
            try:
                await self._claim(tps)
            except (DomainError, KafkaError, OSError) as error:
                log.warning("partitions not claimed yet", attempt=attempt, error=str(error))
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("partitions not claimed")
                break
            else:
                return
        # An exception here is only logged by aiokafka, and then it would read from the wrong place.
        log.error("giving up: partitions could not be claimed from the event store")
        os._exit(3)

    async def on_revoked(self) -> None:
        self._next.clear()  # what was fetched is dropped
        async with self._writing:  # the batch in flight ends; a thread cannot be cancelled
            self._ingest.release()

    async def _claim(self, tps: Collection[TopicPartition]) -> None:
        assert self._consumer is not None
        if not tps:
            return
        ids = await self._in_thread(self._admin.ids, sorted({tp.topic for tp in tps}))
        wanted = {}
        for tp in tps:
            topic_id = ids.get(tp.topic)
            if topic_id is None:
                raise Unavailable(f"topic {tp.topic} does not exist")
            wanted[tp] = Partition(tp.topic, topic_id, tp.partition)
        claimed = await self._in_thread(self._ingest.claim, list(wanted.values()))
        for tp, partition in wanted.items():
            self._partitions[tp] = partition
            self._seek(tp, claimed[partition])

    def _seek(self, tp: TopicPartition, offset: int) -> None:
        assert self._consumer is not None
        if tp in self._consumer.assignment():
            self._consumer.seek(tp, offset)
            self._next[tp] = offset
            self._consumer.resume(tp)

    @Service.task
    async def _read(self) -> None:
        consumer = self._consumer
        assert consumer is not None
        while not self.should_stop:
            try:
                polled = await consumer.getmany(timeout_ms=200, max_records=self._max_records)
            except NoOffsetForPartitionError:
                continue  # raised once after an assignment, although the partition is paused
            except OffsetOutOfRangeError as error:
                await self._find_beginning(error)
                continue
            if polled:
                await self._take(polled)

    async def _take(self, polled: Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]]) -> None:
        async with self._writing:
            batch: dict[Partition, list[Message]] = {}
            for tp, records in polled.items():
                following = self._next.get(tp)
                if following is None:
                    continue
                partition = self._partitions[tp]
                messages = [_message(partition, r) for r in records if r.offset >= following]
                if messages:
                    batch[partition] = messages
            if not batch:
                return
            started = monotonic()
            try:
                outcomes = await self._in_thread(self._ingest.take, batch)
            except (Fenced, Conflict, Unavailable) as error:
                await self._start_again(error)
                return
            self._on_outcomes(outcomes, monotonic() - started)
            for tp in polled:
                if tp in self._next:
                    self._next[tp] = self._ingest.positions[self._partitions[tp]]
        await self._tell_kafka()

    async def _start_again(self, error: DomainError) -> None:
        """Fenced, or the outcome is unknown: only the store knows the positions."""
        log.warning("batch not stored, asking for the positions", error=str(error))
        assert self._consumer is not None
        tps = self._consumer.assignment()
        self._next.clear()
        wait = 0.1
        while not self.should_stop and tps == self._consumer.assignment():
            try:
                await self._claim(tps)
            except (DomainError, OSError) as again:
                if wait < 0.2:
                    log.warning("event store is away, waiting", error=str(again))
                await self.sleep(wait)
                wait = min(wait * 2, 5.0)
            else:
                return

    async def _find_beginning(self, error: OffsetOutOfRangeError) -> None:
        """The position is not in the topic: it was made anew (other id), or its oldest messages have been deleted."""
        assert self._consumer is not None
        tps = self._consumer.assignment()
        async with self._writing:
            await self._start_again(Unavailable(f"position out of range: {error}"))
            starts = await self._consumer.beginning_offsets(tps)
            for tp, start in starts.items():
                if self._next.get(tp, start) < start:
                    log.error("messages were deleted before they were read", topic=tp.topic, partition=tp.partition)
                    self._seek(tp, start)

    @Service.timer(2.0)
    async def _watch_topics(self) -> None:
        """A topic that was deleted and made anew has another id, and its positions start at 0."""
        if not self._next:
            return
        ids = await self._in_thread(self._admin.ids, self._topics)
        if any(p.topic_id != ids.get(tp.topic) for tp, p in self._partitions.items() if tp in self._next):
            async with self._writing:
                await self._start_again(Unavailable("a topic was made anew"))

    @Service.timer(1.0)
    async def _retry_parked(self) -> None:
        async with self._writing:
            if not self._next:
                return
            try:
                outcomes = await self._in_thread(self._ingest.retry_parked)
            except (Fenced, Conflict, Unavailable) as error:
                await self._start_again(error)
            else:
                self._on_outcomes(outcomes, 0.0)

    async def _tell_kafka(self) -> None:
        if monotonic() - self._committed_at < 1.0 or not self._next:
            return
        assert self._consumer is not None
        self._committed_at = monotonic()
        offsets = {tp: OffsetAndMetadata(offset, "") for tp, offset in self._next.items()}
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), 2)
        except (KafkaError, TimeoutError) as error:
            log.debug("offsets not committed to Kafka; positions are safe", error=str(error))

    async def _in_thread(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)


class _Listener(ConsumerRebalanceListener):
    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._source.on_revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._source.on_assigned(assigned)


def _message(partition: Partition, record: "ConsumerRecord[bytes, bytes]") -> Message:
    return Message(
        partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple((k, v or b"") for k, v in record.headers),
    )
