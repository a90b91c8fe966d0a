"""Given events, then rows: a projection over the log in memory, in batches, with JSON as a database gives it back."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from domain import handling, registry
from domain.errors import DomainError
from domain.values import Event, Position, Recorded
from projections.declare import Key, Projection, Row, Table
from tests.support.builders import NOON, fact

Dated = tuple[Event, datetime]


def recorded(*events: Event | Dated, customer: str = "c1", after: int = 0) -> list[Recorded]:
    """Stored events of one customer at consecutive positions, at noon; a pair gives an event a time of its own."""
    made = []
    for position, one in enumerate(events, after + 1):
        event, at = one if isinstance(one, tuple) else (one, NOON)
        said = fact(event, f"e{position}", customer=customer, at=at)
        name = registry.of(event).name
        made.append(Recorded(handling.stream_of(said), 1, event, said.meta, name, Position(position), recorded_at=at))
    return made


def decided(*facts: Event | Dated) -> list[Recorded]:
    """What the facts lead to; a fact that is refused leads to nothing."""
    states: dict[str, object] = {}
    events: list[Dated] = []
    for one in facts:
        data, at = one if isinstance(one, tuple) else (one, NOON)
        said = fact(data, at=at)
        stream = handling.stream_of(said)
        try:
            states[stream], made = handling.handle(states.get(stream), said)
        except DomainError:
            continue
        events += [(event, at) for event in made]
    return recorded(*events)


def decided_of(facts: Iterable[tuple[str, Event]]) -> list[tuple[str, Event]]:
    """The same for facts of several customers, each with whose it is."""
    states: dict[str, object] = {}
    events: list[tuple[str, Event]] = []
    for customer, data in facts:
        said = fact(data, customer=customer)
        stream = handling.stream_of(said)
        try:
            states[stream], made = handling.handle(states.get(stream), said)
        except DomainError:
            continue
        events += [(customer, event) for event in made]
    return events


class MemoryRows:
    """Rows in dictionaries. `as_stored` gives a copy in which JSON columns went the way through `jsonb`."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[Key, Row]] = {}
        self._tables: dict[str, Table] = {}
        self._touched: set[tuple[Table, Key]] = set()

    def get(self, table: Table, key: Key) -> Row | None:
        return self._rows.get(table.name, {}).get(key)

    def put(self, table: Table, key: Key, row: Row) -> None:
        assert row.keys() == table.columns.keys()
        assert len(key) == len(table.key)
        self._tables[table.name] = table
        self._rows.setdefault(table.name, {})[key] = row
        self._touched.add((table, key))

    def edit(self, table: Table, key: Key) -> Row | None:
        row = self.get(table, key)
        if row is not None:
            self._touched.add((table, key))
        return row

    def append(self, table: Table, *row: Any) -> None:
        width = len(table.key)
        assert table.appended
        assert self.get(table, row[:width]) is None
        self.put(table, row[:width], dict(zip(table.columns, row[width:], strict=True)))

    def add(self, table: Table, key: Key, **amounts: int) -> None:
        assert table.summed
        row = self.get(table, key) or dict.fromkeys(table.columns, 0)
        self.put(table, key, row | {name: row[name] + amount for name, amount in amounts.items()})

    def drop(self, table: Table, key: Key) -> None:
        del self._rows[table.name][key]
        self._touched.discard((table, key))

    def finish(self, projection: Projection) -> None:
        """The end of a batch: fill what follows from the rest of the touched rows."""
        first, selection = projection.tables[0], projection.selection
        finished = [key for table, key in self._touched if projection.finish is not None and table is first]
        for key in finished:
            assert projection.finish is not None
            row = self._rows[first.name][key] = projection.finish(self._rows[first.name][key])
            if selection is not None and (picked := selection.pick(row)) is not None:
                self.put(selection.table, key, picked)
            elif selection is not None:
                self._rows.get(selection.table.name, {}).pop(key, None)
        self._touched.clear()

    def whole(self, table: Table) -> list[dict[str, Any]]:
        """All rows with their key columns, as a query gives them, by key."""
        rows = self._rows.get(table.name, {})
        return [{**dict(zip(table.key, key, strict=True)), **rows[key]} for key in sorted(rows)]

    def as_stored(self) -> "MemoryRows":
        """What the next batch loads."""
        stored = MemoryRows()
        for name, rows in self._rows.items():
            table = self._tables[name]
            for key, row in rows.items():
                stored.put(table, key, {c: _stored(row[c], table.columns[c]) for c in table.columns})
        return stored


def fold(projection: Projection, events: Iterable[Recorded], splits: Sequence[int] = ()) -> MemoryRows:
    """The rows after all events that the projection handles, with a batch boundary before each index of `splits`."""
    rows = MemoryRows()
    for index, event in enumerate(events):
        if index in splits:
            rows.finish(projection)
            rows = rows.as_stored()
        if event.name in projection.handles:
            projection.fold(rows, event)
    rows.finish(projection)
    return rows.as_stored()


def _stored(value: Any, kind: str) -> Any:
    if kind != "jsonb" or value is None:
        return value
    return _ordered(json.loads(json.dumps(value)))


def _ordered(value: Any) -> Any:
    """The order of keys in `jsonb`: shorter ones first."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: (len(key), key))}
    return [_ordered(one) for one in value] if isinstance(value, list) else value
