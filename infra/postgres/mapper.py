"""Events as stored: registered name and version as topic, JSON that an auditor can read with SQL as state.

Nothing is written that equals its default, so a default that changes is a new version, with an upcaster that says the
former one. What the personal fields of an event say is not in `data` but beside it, in `hidden`: encrypted under the
key of its customer, all together, bound to stream, version, topic and the names of the fields.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent

from domain import contracts, personal, registry, upcasts
from domain.errors import UnknownName
from domain.values import Event, Meta, Position, Recorded, Value, encodable
from infra.boxes import box, opened
from infra.postgres.data_keys import NONE, DataKeyMissing, Keys

D = TypeVar("D")
EventRow = tuple[Any, ...]
"""Stream, version, topic, state, and where they are asked for position and time of recording."""
EVENT_COLUMNS = "originator_id, originator_version, topic, state, notification_id, recorded_at"
"""The columns of a whole EventRow in `kehu.stored_events`."""
Find = Callable[[Collection[str]], Keys]
"""The data keys of some customers."""
Fields = Mapping[str, Any]


class Hidden(Value, omit_defaults=True):
    """What the personal fields of an event say: their names, and the box in base64; none when the key was destroyed."""

    fields: tuple[str, ...]
    box: str = ""


class Stored(Value, Generic[D], omit_defaults=True):
    """The state of a stored event."""

    meta: Meta
    data: D
    hidden: Hidden | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str | tuple[str, ...]]).decode


def to_state(recorded: Recorded, keys: Keys = NONE) -> bytes:
    """`{"meta": …, "data": …}` as UTF-8 JSON, with `"hidden"` where there are personal fields.

    What is absent or equals its default is left out. Raises DataKeyMissing for personal fields without a key.
    """
    event, meta = recorded.event, recorded.meta
    said = personal.said(event)
    if not said:
        return _encode(Stored(meta, encodable(event)))
    if (customer := meta.customer_id) not in keys:
        raise DataKeyMissing(customer)
    fields, key = tuple(said), keys[customer]
    hidden = Hidden(fields)
    if key is not None:
        stream, version, topic = recorded.originator_id, recorded.originator_version, registry.of(event).topic
        hidden = Hidden(fields, b64encode(box(key, _encode(said), _place(stream, version, topic, fields))).decode())
    return _encode(Stored(meta, encodable(personal.without(event)), hidden))


def to_recorded(
    stream: str,
    version: int,
    topic: str,
    state: bytes,
    position: int | None = None,
    recorded_at: datetime | None = None,
) -> Recorded:
    """The event of a row, upcast to its newest version, with HIDDEN or ERASED for what is hidden.

    Raises UnknownName for a name that is not registered.
    """
    reader = reader_of(topic)
    return reader.recorded(stream, version, reader.read(state), position, recorded_at)


def read_rows(rows: Iterable[EventRow], find: Find, names: Collection[str] | None = None) -> list[Recorded]:
    """The events of rows, with what their personal fields say; of events of other `names` those may stay hidden.

    The keys are looked up at once. Raises what `to_recorded` does, NotOpened and DataKeyMissing.
    """
    events: list[Recorded] = []
    wanted: list[tuple[int, EventRow, Stored[Event]]] = []
    for row in rows:
        reader = reader_of(row[2])
        stored = reader.read(row[3])
        if stored.hidden is not None and stored.hidden.box and (names is None or reader.name in names):
            wanted.append((len(events), row, stored))
        events.append(reader.recorded(row[0], row[1], stored, *row[4:]))
    if wanted:
        keys = find({stored.meta.customer_id for _, _, stored in wanted})
        for index, row, stored in wanted:
            if stored.meta.customer_id in keys:  # or the reader has no master key
                event = _shown(row, stored, keys[stored.meta.customer_id])
                events[index] = msgspec.structs.replace(events[index], event=event)
    return events


def _shown(row: EventRow, stored: Stored[Event], key: AESGCM | None) -> Event:
    """The event with what its personal fields say, or ERASED without a key."""
    stream, version, topic, state = row[:4]
    assert stored.hidden is not None
    if key is None:
        return personal.replaced(stored.data, stored.hidden.fields, personal.ERASED)
    reader = reader_of(topic)
    hidden = reader.hidden(stored, state)
    said = _decode(opened(key, b64decode(hidden.box), _place(stream, version, topic, hidden.fields)))
    return reader.shown(stored.data, state, said)


def _place(stream: str, version: int, topic: str, fields: Sequence[str]) -> bytes:
    return f"{stream}\0{version}\0{topic}\0{','.join(fields)}".encode()


class Reader:
    """What reads the states that are stored under one topic."""

    def __init__(self, topic: str) -> None:
        """Raises UnknownName."""
        self.name, self._version = registry.split_topic(topic)
        self._registration = registration = registry.named(self.name)
        if not 1 <= self._version <= registration.version:
            raise UnknownName(f"{topic}: {self.name} is known up to version {registration.version}")
        decode: Callable[[bytes], Stored[Event]] = msgspec.json.Decoder(
            Stored[registration.event]  # type: ignore[name-defined]
        ).decode
        self.read = self._read_older if self._version < registration.version else decode

    def recorded(
        self,
        stream: str,
        version: int,
        stored: Stored[Event],
        position: int | None = None,
        recorded_at: datetime | None = None,
    ) -> Recorded:
        """The event in its place, with a word for what is hidden."""
        event, hidden = stored.data, stored.hidden
        if hidden is not None:
            event = personal.replaced(event, hidden.fields, personal.HIDDEN if hidden.box else personal.ERASED)
        place = None if position is None else Position(position)
        return Recorded(stream, version, event, stored.meta, self.name, place, recorded_at)

    def hidden(self, stored: Stored[Event], state: bytes) -> Hidden:
        """The box with the names that its fields had when it was closed."""
        found = _untyped(state).hidden if self._version < self._registration.version else stored.hidden
        assert found is not None
        return found

    def shown(self, event: Event, state: bytes, said: Fields) -> Event:
        """The event with what its personal fields say."""
        if self._version < self._registration.version:
            stored = _untyped(state)
            return contracts.convert(self._registration.event, self._upcast({**stored.data, **said}))
        return msgspec.structs.replace(event, **said)

    def _read_older(self, state: bytes) -> Stored[Event]:
        stored = _untyped(state)
        if stored.hidden is None:
            return Stored(stored.meta, contracts.convert(self._registration.event, self._upcast(stored.data)))
        # The steps see that the fields are there, under whatever names; what they say need not keep to any bounds.
        words = dict.fromkeys(stored.hidden.fields, personal.HIDDEN)
        data = self._upcast({**stored.data, **words})
        fields = tuple(name for name in personal.fields(self._registration.event) if data.get(name) == personal.HIDDEN)
        required = {one.name for one in msgspec.structs.fields(self._registration.event) if one.required}
        shown = {name: value for name, value in data.items() if name not in fields or name in required}
        event = contracts.convert(self._registration.event, shown)
        return Stored(stored.meta, event, Hidden(fields, stored.hidden.box))

    def _upcast(self, data: dict[str, Any]) -> upcasts.Data:
        return upcasts.upcast(self.name, self._version, self._registration.version, data)


@cache
def reader_of(topic: str) -> Reader:
    """What reads the states that are stored under a topic. Raises UnknownName."""
    return Reader(topic)


_untyped = msgspec.json.Decoder(Stored[dict[str, Any]]).decode


@dataclass(frozen=True)
class OwnedEvent(StoredEvent):
    """A stored event that says whose it is, for the column `customer_id`."""

    customer_id: str


class KehuMapper(Mapper[str]):
    """The library's mapper with our names, versions and upcasters. It has no keys.

    So it writes no event that says personal data (DataKeyMissing), and reads it hidden.
    """

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
