"""Records of the Kafka client as its parser leaves them.

For each record the client makes an object of eleven fields in Python, which takes longer than all it did before. A
consumer that is made with `key_deserializer=as_they_are` gets what the parser made: `offset`, `timestamp`, `key`,
`value` and `headers`. There is no public way to it, so the version of aiokafka is pinned, and
tests/contract/test_records.py tells when another one no longer works like this.
"""

from typing import Any, Protocol

from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition


class Record(Protocol):
    """What was parsed of a message."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Any


def as_they_are(key: bytes | None) -> bytes | None:
    """A deserializer of keys that does nothing, and by which such a consumer is known."""
    return key


_made = fetcher.PartitionRecords._consumer_record


def _record(self: Any, tp: TopicPartition, record: Any) -> Any:
    return record if self._key_deserializer is as_they_are else _made(self, tp, record)


fetcher.PartitionRecords._consumer_record = _record
