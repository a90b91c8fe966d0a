"""A consumer that takes records as they are gets all that a message holds; others get what the client makes of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord

from infra.kafka.records import as_they_are

TP = TopicPartition("kehu.surveys", 1)
SENT: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
    (b"c1", b"one", [("content-type", b"text/x"), ("empty", b""), ("null", None)]),
    (None, b"two", []),
    (b"c3", None, []),
]


def fetched(**how: Any) -> Iterator[Any]:
    """The records of a batch as the client's fetcher unpacks them."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for offset, (key, value, headers) in enumerate(SENT):
        builder.append(offset, 1000 + offset, key, value, headers)
    return iter(
        PartitionRecords(
            TP,
            MemoryRecords(bytes(builder.build())),
            aborted_transactions=[],
            fetch_offset=0,
            key_deserializer=how.get("key"),
            value_deserializer=None,
            check_crcs=True,
            isolation_level=READ_COMMITTED,
        )
    )


@pytest.mark.parametrize("key", [as_they_are, None])
def test_a_record_holds_what_was_sent(key: Callable[..., Any] | None) -> None:
    records = list(fetched(key=key))
    assert [(r.key, r.value, list(r.headers)) for r in records] == SENT
    assert [(r.offset, r.timestamp) for r in records] == [(0, 1000), (1, 1001), (2, 1002)]
    assert {isinstance(r, ConsumerRecord) for r in records} == {key is None}
