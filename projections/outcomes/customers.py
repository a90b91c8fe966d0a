"""Customers: who joined, moved and left, by where they are counted."""

from collections.abc import Callable
from datetime import date
from typing import Any

from domain.values import Recorded
from projections.declare import Key, Row, Rows
from projections.measures.times import day_of
from projections.outcomes.tables import CUSTOMER_DIMENSIONS, MOVES, PEOPLE, STOCK


def _cell(row: Row) -> Key:
    return tuple(row[name] for name in CUSTOMER_DIMENSIONS)


def _move(rows: Rows, day: date, cell: Key, what: str, change: int) -> None:
    rows.add(MOVES, (day, *cell), **{what: 1})
    rows.add(STOCK, cell, customers=change)


def _registered(rows: Rows, event: Recorded) -> None:
    """The relationship began on the day that is told, or on that of the event."""
    said: Any = event.event
    key, day = (event.meta.customer_id,), day_of(event.meta.occurred_at)
    person = rows.get(PEOPLE, key) or {"recent": None}
    person |= {name: getattr(said, name) or "" for name in CUSTOMER_DIMENSIONS}
    rows.put(PEOPLE, key, person)
    _move(rows, min(day, said.customer_since or day), _cell(person), "joined", 1)


def _profile_changed(rows: Rows, event: Recorded) -> None:
    said: Any = event.event
    changed = {name: value for name in CUSTOMER_DIMENSIONS if (value := getattr(said, name)) is not None}
    if not changed:
        return
    key, day = (event.meta.customer_id,), day_of(event.meta.occurred_at)
    person = rows.get(PEOPLE, key)
    if person is None:
        return
    before = _cell(person)
    person |= changed
    if (now := _cell(person)) != before:
        _move(rows, day, before, "moved_out", -1)
        _move(rows, day, now, "moved_in", 1)
        rows.put(PEOPLE, key, person)


def _closed(rows: Rows, event: Recorded) -> None:
    person = rows.get(PEOPLE, (event.meta.customer_id,))
    if person is not None:
        _move(rows, day_of(event.meta.occurred_at), _cell(person), "closed", -1)


FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {
    "customer.registered": _registered,
    "customer.profile-changed": _profile_changed,
    "customer.closed": _closed,
}
