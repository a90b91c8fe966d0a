"""Views on compacted topics: a row as a CloudEvent in binary mode, a row that is gone as a tombstone.

In binary mode the value is the row alone, so that a table can be made of the topic by any tool, and a tombstone has its
attributes too. `sequence` (an extension that CloudEvents documents) rises with each message about a row.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from infra.errors import KehuError, ServerUnavailable
from infra.kafka import security
from infra.kafka.producer import Headers
from infra.kafka.reading import held
from infra.kafka.topics import PATIENCE
from infra.view_events import sequence_of, source_of, type_of
from projections.views import VIEWS, Update, View

COMPACTED = {
    "cleanup.policy": "compact",
    # What is removed or replaced is gone after a day, also where little changes.
    "max.compaction.lag.ms": str(24 * 3600 * 1000),
    "segment.ms": str(24 * 3600 * 1000),
    "min.cleanable.dirty.ratio": "0.2",
    # Whoever was away for a week still learns that a row is gone.
    "delete.retention.ms": str(7 * 24 * 3600 * 1000),
}
"""Settings of the topics."""
BATCH = 512 * 1024
"""Bytes of messages for a partition that are sent together."""
_JSON: Headers = [("ce_specversion", b"1.0"), ("content-type", b"application/json")]
Encoded = tuple[bytes, bytes | None, list[tuple[str, bytes | None]]]
"""Key, value and headers."""


class NotTaken(KehuError):
    """The broker did not take a message of a view. It is tried again; see the detail for what it allows."""


VIEW_TOPICS = tuple(view.topic for view in VIEWS)


def encoded(view: View, epoch: int, updates: Iterable[Update]) -> Iterable[Encoded]:
    """The messages for updates of a view."""
    kinds = {False: type_of(view, "changed").encode(), True: type_of(view, "removed").encode()}
    source, version = source_of(view).encode(), str(view.projection.version).encode()
    at, time, sequence = None, b"", b""
    for update in updates:
        if update.at != at:  # rows of one save changed at the same moment
            at = update.at
            time, sequence = at.isoformat().encode(), sequence_of(epoch, at).encode()
        key, value = update.key.encode(), None if update.row is None else update.row.encode()
        headers = [
            *_JSON,
            ("ce_type", kinds[value is None]),
            ("ce_source", source),
            ("ce_id", sequence + b"/" + key),
            ("ce_subject", key),
            ("ce_time", time),
            ("ce_position", b"%d" % update.position),
            ("ce_projectionversion", version),
            ("ce_sequence", sequence),
        ]
        yield key, value, headers


class ViewProducer:
    """Sends messages in whole batches, each acknowledged by all replicas; made when needed, anew after it failed."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def close(self) -> None:
        """Stop the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError):
                await producer.stop()

    async def send(self, topic: str, messages: Iterable[Encoded]) -> None:
        """Send messages with keys that are all different; raises ServerUnavailable, NotTaken.

        Messages of a later call come after them, also when something is sent twice in between: a partition has one
        batch on its way at a time.
        """
        try:
            producer = await self._started()
            partitions = sorted(await producer.partitions_for(topic))
            batches = _batches(producer, len(partitions), messages)
            sent = [await producer.send_batch(batch, topic, partition=partitions[at]) for at, batch in batches]
            await asyncio.gather(*sent)
        except (KafkaError, OSError) as error:
            await self.close()
            if isinstance(error, KafkaError) and not error.retriable:
                raise NotTaken(f"{topic}: {error!r}") from error
            told = await security.refusal(self._bootstrap) or repr(error)
            raise ServerUnavailable(f"Kafka at {self._bootstrap}: {told}") from error

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                **security.options(),
                enable_idempotence=False,  # the embedded broker knows none; a repeated message has the same sequence
                acks="all",
                max_batch_size=BATCH,
                max_request_size=4 * 1024 * 1024,
                request_timeout_ms=int(PATIENCE * 1000),
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer


def _batches(
    producer: AIOKafkaProducer, partitions: int, messages: Iterable[Encoded]
) -> "Iterable[tuple[int, BatchBuilder]]":
    """Each batch with the partition that every producer with the usual partitioner would choose for its keys."""
    filling: dict[int, BatchBuilder] = {}
    for key, value, headers in messages:
        at = (murmur2(key) & 0x7FFFFFFF) % partitions
        batch = filling.get(at)
        if batch is None:
            batch = filling[at] = producer.create_batch()
        if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
            yield at, batch
            batch = filling[at] = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)
    yield from filling.items()


async def held_keys(bootstrap: str, topic: str) -> AsyncIterator[dict[str, bool]]:
    """The keys of the messages that a topic holds now, some at a time, and whether the last of them is a row.

    A key that is no text is none of ours. Raises ServerUnavailable.
    """
    async for messages in held(bootstrap, topic):
        keys: dict[str, bool] = {}
        for message in messages:
            with suppress(UnicodeDecodeError, AttributeError):
                keys[message.key.decode()] = message.value is not None
        if keys:
            yield keys
