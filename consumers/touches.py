"""Which rows of a table the events touch that count at one moment and not at another, while a projection is folded.

A row differs between two moments because such an event touched it, or because one changed what a later event of the
same customer does to it. Or only time has passed: then nothing is noted.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from domain.values import CustomerId, Position, Recorded
from projections.declare import Key, Projection, Row, Rows, Table

Touch = tuple[Key, Position, bool]
"""The key of a row, an event that counts at one moment only, and whether that event itself touched the row."""


class Touches:
    """What was noted since it was taken; events must come ordered by customer, then by position."""

    def __init__(self, table: Table, counts_elsewhere: Callable[[Recorded], bool]) -> None:
        self.table = table
        self._counts_elsewhere = counts_elsewhere
        self._customer: CustomerId | None = None
        self._latest: Position | None = None
        self._noted: dict[Touch, None] = {}

    def noting(self, projection: Projection) -> Projection:
        """The projection, noting what its events touch of the table."""
        fold = projection.fold

        def noting_fold(rows: Rows, event: Recorded) -> None:
            if event.meta.customer_id != self._customer:
                self._customer, self._latest = event.meta.customer_id, None
            own = not self._counts_elsewhere(event)
            if own:
                self._latest = event.position
            if self._latest is None:
                fold(rows, event)
                return
            watched = _Watched(rows, self.table)
            fold(watched, event)
            self._noted.update(((key, self._latest, own), None) for key in watched.touched)

        return replace(projection, fold=noting_fold)

    def take(self) -> list[Touch]:
        """What was noted since the last time."""
        noted = list(self._noted)
        self._noted.clear()
        return noted


class _Watched:
    """Rows that keep the keys of a table's rows that are changed. One that is only looked at is not."""

    def __init__(self, rows: Rows, table: Table) -> None:
        self._rows, self._table = rows, table
        self.touched: set[Key] = set()

    def get(self, table: Table, key: Key) -> Row | None:
        return self._rows.get(table, key)

    def edit(self, table: Table, key: Key) -> Row | None:
        self._touch(table, key)
        return self._rows.edit(table, key)

    def put(self, table: Table, key: Key, row: Row) -> None:
        self._touch(table, key)
        self._rows.put(table, key, row)

    def append(self, table: Table, *row: Any) -> None:
        self._touch(table, row[: len(table.key)])
        self._rows.append(table, *row)

    def add(self, table: Table, key: Key, **amounts: int) -> None:
        self._touch(table, key)
        self._rows.add(table, key, **amounts)

    def drop(self, table: Table, key: Key) -> None:
        self._touch(table, key)
        self._rows.drop(table, key)

    def _touch(self, table: Table, key: Key) -> None:
        if table is self._table:
            self.touched.add(key)
