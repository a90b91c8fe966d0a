"""Facts and messages with defaults, so that a test names only what it is about."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec

from domain.ports import Message, Partition
from domain.values import CustomerId, Event, Fact, Meta, Money

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


EXAMPLES: dict[str, Any] = {
    "metric": "nps", "scale": 10, "score": 9, "severity": 2, "priority": 1, "resolved": True,
    "booked_on": date(2026, 3, 2), "due": date(2026, 4, 2), "until": date(2030, 1, 2),
    "amount": Money(minor=-5, currency="EUR"), "invited_at": NOON, "starts_at": NOON, "due_at": NOON,
    "clock": "service", "preset_version": 1, "waiting_for": "customer", "outcome": "upheld", "status": "granted",
    "known_as": ("c1",), "letters": (7,), "letter": 7, "messages": (4,), "partition": 0,
    "first": 1, "following": 2, "last": 2, "version": 1,
    "build": 1, "paused": True, "head": 5, "reads": 2, "digest": "ab" * 32, "settings": {"group": "kehu"},
    "erasure": 3, "wrapped": 4,
}  # fmt: skip


def smallest(kind: type[Event]) -> Event:
    """An event with its required fields only."""
    return kind(**{one.name: EXAMPLES.get(one.name, "北京") for one in msgspec.structs.fields(kind) if one.required})


def said(event: Event) -> dict[str, Any]:
    """All fields of an event as JSON would hold them, those that equal their default among them."""
    return {name: msgspec.json.decode(msgspec.json.encode(getattr(event, name))) for name in event.__struct_fields__}
