"""Cells, and beside them the totals of each dimension, which answer the usual questions from fewer rows."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache

from projections.declare import Key, Rows, Table


@dataclass(frozen=True)
class Counted:
    """A table of cells with the totals of their dimensions, which end its key.

    The key of `totals` is `dimension`, the columns of a cell's key before its dimensions, and `value`: a row is the sum
    of the cells in which this dimension has this value; where the dimension is '', the sum of all.
    """

    cells: Table
    totals: Table
    dimensions: tuple[str, ...]

    def count(self, rows: Rows, cell: Key, **changes: int) -> None:
        """Add to the counters of a cell and of the totals that it is part of."""
        add = rows.add
        add(self.cells, cell, **changes)
        totals = self.totals
        for key in self._keys(cell):
            add(totals, key, **changes)

    def answering(self, named: Collection[str]) -> str | None:
        """The dimension whose totals say as much as the cells about these columns; None when only the cells do.

        It is '', the totals of all cells, when none of them is a dimension. Other columns, such as days, are apart in
        all totals.
        """
        dimensions = [name for name in self.dimensions if name in named]
        return None if len(dimensions) > 1 else "".join(dimensions)

    @cached_property
    def _keys(self) -> Callable[[Key], list[Key]]:
        """The totals of a cell. Events that follow each other are often counted in the same one."""
        apart = len(self.cells.key) - len(self.dimensions)

        def keys(cell: Key) -> list[Key]:
            common, values = cell[:apart], cell[apart:]
            named = zip(self.dimensions, values, strict=True)
            return [("", *common, ""), *((name, *common, value) for name, value in named)]

        return lru_cache(maxsize=10_000)(keys)
