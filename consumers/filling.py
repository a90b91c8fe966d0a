"""New builds filled from the whole log, one customer after the other: no row is ever read back, none is written twice.

For projections whose rows follow from the events of one customer alone. Folding by position, as `consumers.projector`
does, gives the same rows: a fold sees the events of its customer in the same order.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Protocol

from consumers.projector import BatchRows
from domain.errors import DomainError
from domain.values import Position, Recorded
from projections.completeness import Folded, digests
from projections.declare import Changes, Key, Projection, Row, Table

CHUNK = 10_000
"""Events whose rows are written together; more only when they are of one customer."""
Rows = dict[Table, dict[Key, tuple[Position, Row | None]]]


class CannotFold(DomainError):
    """An event that a projection cannot fold: where and why."""


class Filled(Protocol):
    """Empty builds, one of each projection."""

    def write(self, projection: Projection, changes: Changes) -> None:
        """Write rows that were never written before."""

    def count(self, projection: Projection, folded: Folded) -> None:
        """Keep what was folded, when all rows are written."""


def fill(projections: Sequence[Projection], by_customer: Iterable[Recorded], filled: Filled) -> None:
    """Fold events that come ordered by customer, then by position, and write the rows. Raises CannotFold."""
    folded = {projection.name: Folded() for projection in projections}
    changes: dict[str, Rows] = {projection.name: {} for projection in projections}
    waiting = 0

    def write() -> None:
        for projection in projections:
            filled.write(projection, changes[projection.name])
            changes[projection.name].clear()

    for _, events in groupby(by_customer, lambda event: event.meta.customer_id):
        own = list(events)
        marks = dict(digests(own))
        for projection in projections:
            _fold(projection, own, marks, folded[projection.name], changes[projection.name])
        waiting += len(own)
        if waiting >= CHUNK:
            write()
            waiting = 0
    write()
    for projection in projections:
        filled.count(projection, folded[projection.name])


def _fold(
    projection: Projection, own: Sequence[Recorded], marks: Mapping[Position, int], folded: Folded, changes: Rows
) -> None:
    rows = BatchRows(lambda _table, _keys: {})
    event = own[0]
    try:
        for event in own:
            if event.name in projection.handles:
                assert event.position is not None
                rows.position = event.position
                projection.fold(rows, event)
                folded.add(event.position, marks[event.position])
        rows.finish(projection)
    except Exception as error:
        where = f"at position {event.position} ({event.name})"
        raise CannotFold(f"{projection.name}: {where}: {type(error).__name__}: {error}") from error
    for table, changed in rows.changes.items():
        changes.setdefault(table, {}).update(changed)
