"""A read model of a few events, folded in memory: what it would show had they all been about one customer."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from consumers.held_rows import HeldRows
from domain.customer import CustomerClosed
from domain.values import CustomerId, Recorded
from projections.completeness import proofs_of
from projections.declare import Key, Projection, Row, Table


def as_one(events: Iterable[Recorded], customer: str, *, closed: bool) -> list[Recorded]:
    """The events as if they were all about one customer; who is not closed as a whole was closed nowhere."""
    return [
        replace(event, meta=replace(event.meta, customer_id=CustomerId(customer)))
        for event in events
        if closed or not isinstance(event.event, CustomerClosed)
    ]


def refolded(projection: Projection, events: Sequence[Recorded]) -> list[Row]:
    """The rows of the projection's first table after these events, with key and position."""
    rows = HeldRows(projection, _nothing, empty=True)
    rows.fold(events, proofs_of(events))
    table = projection.tables[0]
    changed = rows.changes().get(table)
    made = [] if changed is None else changed.added + changed.replaced
    return [{**dict(zip(table.key, key, strict=True)), **row, "position": position} for key, position, row in made]


def _nothing(table: Table, keys: Sequence[Key]) -> dict[Key, dict[str, Any]]:
    return {}
