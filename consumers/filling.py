"""New builds filled from the whole log, one customer after the other: no row is ever read back, none is written twice.

For projections whose rows follow from the events of one customer alone. Folding by position, as `consumers.projector`
does, gives the same rows: a fold sees the events of its customer in the same order.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Protocol

from consumers.held_rows import CannotFold, HeldRows
from domain.values import Recorded
from projections.completeness import Folded, digests
from projections.declare import Changes, Key, Projection, Row, Table

CHUNK = 10_000
"""Events whose rows are written together; more only when they are of one customer."""


class Filled(Protocol):
    """Empty builds, one of each projection."""

    def write(self, projection: Projection, changes: Changes) -> None:
        """Write rows that were never written before."""

    def count(self, projection: Projection, folded: Folded) -> None:
        """Keep what was folded, when all rows are written."""


def fill(projections: Sequence[Projection], by_customer: Iterable[Recorded], filled: Filled) -> None:
    """Fold events that come ordered by customer, then by position, and write the rows. Raises CannotFold."""
    folded = {projection.name: Folded() for projection in projections}
    chunk: list[Recorded] = []

    def write() -> None:
        marks = dict(digests(chunk))
        for projection in projections:
            rows = HeldRows(projection, _nothing, empty=True)
            rows.folded = folded[projection.name]
            try:
                rows.fold(chunk, marks)
            except CannotFold as error:
                raise CannotFold(f"{projection.name}: {error}") from error
            filled.write(projection, rows.changes())
        chunk.clear()

    for _, events in groupby(by_customer, lambda event: event.meta.customer_id):
        chunk.extend(events)
        if len(chunk) >= CHUNK:
            write()
    write()
    for projection in projections:
        filled.count(projection, folded[projection.name])


def _nothing(_table: Table, _keys: Sequence[Key]) -> Mapping[Key, Row]:
    """What an empty build has under some keys."""
    return {}
