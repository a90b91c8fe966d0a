"""Empty tables filled from the log, one customer after the other: no row is ever read back, none is written twice.

So new builds are made from all of it, and read models as they stood from the part that counts.

Folding by position, as `consumers.projector` does, gives the same rows: a row follows from the events of one customer,
and a fold sees those in the same order. Counters of a summed table add up in any order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from consumers.held_rows import HeldRows
from domain.values import Recorded
from projections.completeness import Folded, proofs_of
from projections.declare import CannotFold, Changes, Key, Projection, Row, Table


class Filled(Protocol):
    """Empty tables of each projection."""

    def write(self, projection: Projection, changes: Changes) -> None:
        """Write rows that were never written before, and what counters grew by."""

    def count(self, projection: Projection, folded: Folded) -> None:
        """Keep what was folded, when all rows are written."""


def fill(projections: Sequence[Projection], batches: Iterable[Sequence[Recorded]], filled: Filled) -> None:
    """Fold events that come ordered by customer, then by position, and write the rows. Raises CannotFold.

    What is in memory grows with the batches, and with the events of one customer.
    """
    folded = {projection.name: Folded() for projection in projections}
    for events in _of_whole_customers(batches):
        proofs = proofs_of(events)
        for projection in projections:
            rows = HeldRows(projection, _nothing, empty=True)
            rows.folded = folded[projection.name]
            try:
                rows.fold(events, proofs)
            except CannotFold as error:
                raise CannotFold(f"{projection.name}: {error}") from error
            filled.write(projection, rows.changes())
    for projection in projections:
        filled.count(projection, folded[projection.name])


def _of_whole_customers(batches: Iterable[Sequence[Recorded]]) -> Iterator[list[Recorded]]:
    """The same events, cut between two customers. None of a batch that another customer may follow stays behind."""
    waiting: list[Recorded] = []
    for batch in batches:
        waiting += batch
        last, cut = waiting[-1].meta.customer_id, len(waiting)
        while cut and waiting[cut - 1].meta.customer_id == last:
            cut -= 1
        if cut:
            yield waiting[:cut]
            del waiting[:cut]
    if waiting:
        yield waiting


def _nothing(_table: Table, _keys: Sequence[Key]) -> Mapping[Key, Row]:
    """What empty tables have under some keys."""
    return {}
