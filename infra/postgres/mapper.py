"""Events as stored: registered name and version as topic, JSON that an auditor can read with SQL as state.

Nothing is written that equals its default, so a default that changes is a new version, with an upcaster that says the
former one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent

from domain import contracts, registry, upcasts
from domain.errors import UnknownName
from domain.values import Event, Meta, Position, Recorded, Value, encodable

D = TypeVar("D")


class Stored(Value, Generic[D]):
    """The state of a stored event."""

    meta: Meta
    data: D


_encode = msgspec.json.Encoder().encode


def to_state(recorded: Recorded) -> bytes:
    """`{"meta": …, "data": …}` as UTF-8 JSON; what is absent or equals its default is left out."""
    return _encode(Stored(recorded.meta, encodable(recorded.event)))


def to_recorded(
    stream: str,
    version: int,
    topic: str,
    state: bytes,
    position: int | None = None,
    recorded_at: datetime | None = None,
) -> Recorded:
    """The event of a row, upcast to its newest version. Raises UnknownName for a name that is not registered."""
    name, read = reader(topic)
    said = read(state)
    return Recorded(
        stream, version, said.data, said.meta, name, None if position is None else Position(position), recorded_at
    )


@cache
def reader(topic: str) -> tuple[str, Callable[[bytes], Stored[Event]]]:
    """The name of what is stored under a topic, and what reads its state. Raises UnknownName."""
    name, version = registry.split_topic(topic)
    registration = registry.named(name)
    if not 1 <= version <= registration.version:
        raise UnknownName(f"{topic}: {name} is known up to version {registration.version}")
    kind = registration.event

    def read_older(state: bytes) -> Stored[Event]:
        said = _untyped(state)
        data = upcasts.upcast(name, version, registration.version, said.data)
        return Stored(said.meta, contracts.convert(kind, data))

    if version != registration.version:
        return name, read_older
    decode: Callable[[bytes], Stored[Event]] = msgspec.json.Decoder(Stored[kind]).decode  # type: ignore[valid-type]

    return name, decode


_untyped = msgspec.json.Decoder(Stored[dict[str, Any]]).decode


@dataclass(frozen=True)
class OwnedEvent(StoredEvent):
    """A stored event that says whose it is, for the column `customer_id`."""

    customer_id: str


class KehuMapper(Mapper[str]):
    """The library's mapper with our names, versions and upcasters."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        assert isinstance(domain_event, Recorded)
        topic = registry.of(domain_event.event).topic
        stream, version = domain_event.originator_id, domain_event.originator_version
        return OwnedEvent(stream, version, topic, to_state(domain_event), domain_event.meta.customer_id)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[str]:
        recorded: Any = to_recorded(
            str(stored_event.originator_id), stored_event.originator_version, stored_event.topic, stored_event.state
        )
        return recorded  # type: ignore[no-any-return]
