"""Facts and messages with defaults, so that a test names only what it is about."""

from datetime import UTC, datetime

from domain.ports import Message, Partition
from domain.values import CustomerId, Event, Fact, Meta

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SURVEYS = Partition("kehu.surveys", "topic-1", 0)


def meta(event_id: str = "e1", *, customer: str = "c1", at: datetime = NOON) -> Meta:
    """The meta of an event of customer c1 at noon."""
    return Meta(event_id, "/test", CustomerId(customer), at)


def fact(data: Event, event_id: str = "e1", *, customer: str = "c1", at: datetime = NOON) -> Fact:
    """A fact about customer c1 at noon."""
    return Fact(data, meta(event_id, customer=customer, at=at))


def message(offset: int, value: bytes, partition: Partition = SURVEYS) -> Message:
    """A message at an offset."""
    return Message(partition, offset, 0, b"c1", value)
