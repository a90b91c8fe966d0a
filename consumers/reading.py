"""What a source has to read, counted for those who watch it."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from aiokafka import TopicPartition

from consumers.decoding import Fetched, message_of


def unread(
    following: Mapping[TopicPartition, int],
    assigned: Collection[TopicPartition],
    end: Callable[[TopicPartition], int | None],
) -> Mapping[str, int]:
    """Topic -> offsets from where it is read on to its end; partitions without a known end count as read."""
    left: Counter[str] = Counter()
    for tp, offset in following.items():
        if tp in assigned:
            left[tp.topic] += max(0, (end(tp) or 0) - offset)
    return left


def oldest(batch: Fetched) -> Mapping[str, int]:
    """Topic -> timestamp (ms) of the oldest message of a batch, taken for the first of each partition."""
    found: dict[str, int] = {}
    for partition, messages in batch.items():
        at = message_of(messages[0]).timestamp_ms
        found[partition.topic] = min(at, found.get(partition.topic, at))
    return found
