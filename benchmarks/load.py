"""What is measured with: messages of the example bank, all five topics, and how they come into a broker."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import psycopg

from consumers.ingest import Ingest
from domain.ports import Message, Partition
from examples.bank import Bank
from infra import bootstrap
from infra.kafka.producer import Encoded, send

END = datetime(2026, 3, 2, 12, 40, tzinfo=UTC)
PARTITIONS = 2
"""Per topic: ten in all."""
AT_ONCE = 2000


def messages(events: int, *, defects: bool = True) -> list[Encoded]:
    """Messages of half a year of a bank, with its duplicates, late and malformed ones unless `defects` is off."""
    bank = Bank(7, end=END, defects=defects)
    return [(m.topic, m.key.encode(), m.value) for m in bank.messages(events)]


def prepare(postgres: str, kafka: str, encoded: Sequence[Encoded] = ()) -> None:
    """Schema, read models and topics, and the messages in their topics."""
    bootstrap.setup(postgres, kafka, PARTITIONS)
    publish(kafka, encoded)


def publish(kafka: str, encoded: Sequence[Encoded]) -> None:
    """Send the messages and wait until all are acknowledged."""
    asyncio.run(send(kafka, encoded, lambda _acknowledged: None))


def batches(
    ingest: Ingest, encoded: Sequence[Encoded], at_once: int = AT_ONCE
) -> Iterator[Mapping[Partition, Sequence[Message]]]:
    """The messages as a worker would take them, in the order in which they were published, without a broker."""
    partitions = {topic: Partition(topic, topic, 0) for topic, _, _ in encoded}
    ingest.claim(list(partitions.values()))
    offsets = dict.fromkeys(partitions, 0)
    for first in range(0, len(encoded), at_once):
        batch: dict[Partition, list[Message]] = {}
        for topic, key, value in encoded[first : first + at_once]:
            batch.setdefault(partitions[topic], []).append(Message(partitions[topic], offsets[topic], 0, key, value))
            offsets[topic] += 1
        yield batch


def read(postgres: str) -> int:
    """How many messages the store has read."""
    with psycopg.connect(postgres) as conn:
        row = conn.execute("SELECT coalesce(sum(next_offset), 0)::bigint FROM kehu.positions").fetchone()
    assert row is not None
    return int(row[0])
