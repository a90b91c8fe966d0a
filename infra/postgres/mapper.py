"""Events as stored: registered name and version as topic, JSON that an auditor can read with SQL as state."""

from datetime import datetime
from typing import Any

import orjson
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent

from domain import registry, upcasts
from domain.values import CustomerId, Meta, Position, Recorded


def to_state(recorded: Recorded) -> bytes:
    """`{"meta": …, "data": …}` as UTF-8 JSON; absent values are left out."""
    meta = recorded.meta
    said = {"id": meta.event_id, "source": meta.source, "customer": meta.customer_id, "at": meta.occurred_at}
    for name in ("correlation_id", "causation_id", "traceparent"):
        if (value := getattr(meta, name)) is not None:
            said[name] = value
    data = recorded.event.__pydantic_serializer__.to_json(recorded.event, exclude_none=True)
    return b'{"meta":' + orjson.dumps(said) + b',"data":' + data + b"}"


def to_recorded(
    stream: str,
    version: int,
    topic: str,
    state: bytes,
    position: int | None = None,
    recorded_at: datetime | None = None,
) -> Recorded:
    """The event of a row, upcast to its newest version. Raises UnknownName for a name that is not registered."""
    name, stored_version = registry.split_topic(topic)
    registration = registry.named(name)
    said: dict[str, Any] = orjson.loads(state)
    meta = said["meta"]
    data = upcasts.upcast(name, stored_version, registration.version, said["data"])
    return Recorded(
        stream,
        version,
        registration.event.model_validate(data),
        Meta(
            meta["id"],
            meta["source"],
            CustomerId(meta["customer"]),
            datetime.fromisoformat(meta["at"]),
            meta.get("correlation_id"),
            meta.get("causation_id"),
            meta.get("traceparent"),
        ),
        name,
        None if position is None else Position(position),
        recorded_at,
    )


class KehuMapper(Mapper[str]):
    """The library's mapper with our names, versions and upcasters."""

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        assert isinstance(domain_event, Recorded)
        topic = registry.of(domain_event.event).topic
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, topic, to_state(domain_event))

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[str]:
        recorded: Any = to_recorded(
            str(stored_event.originator_id), stored_event.originator_version, stored_event.topic, stored_event.state
        )
        return recorded  # type: ignore[no-any-return]
