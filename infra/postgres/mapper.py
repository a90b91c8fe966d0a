"""Events as stored: registered name and version as topic, JSON that an auditor can read with SQL as state."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent

from domain import registry, upcasts
from domain.errors import UnknownName
from domain.values import CustomerId, Meta, Position, Recorded


def to_state(recorded: Recorded) -> bytes:
    """`{"meta": …, "data": …}` as UTF-8 JSON; absent values are left out."""
    meta = recorded.meta
    said: dict[str, object] = {
        "id": meta.event_id,
        "source": meta.source,
        "customer": meta.customer_id,
        "at": meta.occurred_at,
    }
    if meta.correlation_id is not None:
        said["correlation_id"] = meta.correlation_id
    if meta.causation_id is not None:
        said["causation_id"] = meta.causation_id
    if meta.traceparent is not None:
        said["traceparent"] = meta.traceparent
    data = recorded.event.__pydantic_serializer__.to_json(recorded.event, exclude_none=True)
    return b'{"meta":%b,"data":%b}' % (orjson.dumps(said), data)


def to_recorded(
    stream: str,
    version: int,
    topic: str,
    state: bytes,
    position: int | None = None,
    recorded_at: datetime | None = None,
) -> Recorded:
    """The event of a row, upcast to its newest version. Raises UnknownName for a name that is not registered."""
    registration, stored_version = _registration(topic)
    said: dict[str, Any] = orjson.loads(state)
    meta, data = said["meta"], said["data"]
    if stored_version != registration.version:
        data = upcasts.upcast(registration.name, stored_version, registration.version, data)
    return Recorded(
        stream,
        version,
        registration.event.__pydantic_validator__.validate_python(data),
        Meta(
            meta["id"],
            meta["source"],
            CustomerId(meta["customer"]),
            datetime.fromisoformat(meta["at"]),
            meta.get("correlation_id"),
            meta.get("causation_id"),
            meta.get("traceparent"),
        ),
        registration.name,
        None if position is None else Position(position),
        recorded_at,
    )


@cache
def _registration(topic: str) -> tuple[registry.Registration, int]:
    name, version = registry.split_topic(topic)
    registration = registry.named(name)
    if not 1 <= version <= registration.version:
        raise UnknownName(f"{topic}: {name} is known up to version {registration.version}")
    return registration, version


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
