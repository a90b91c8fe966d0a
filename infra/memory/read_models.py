"""Read models in memory: the reference for the conformance suite, and all that a unit test needs."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime

from domain.ports import Fenced
from domain.values import Position
from projections.completeness import Folded
from projections.declare import Change, Changes, Key, Projection, Row, Standing, Table


class MemoryReadModels:
    """Rows and positions in dictionaries."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[Key, tuple[Position, Row]]] = {}
        self._positions: dict[str, Position] = {}
        self.errors: dict[str, str] = {}
        self.folded: dict[str, dict[int, tuple[int, int]]] = {}

    def standing(self, projections: Sequence[Projection]) -> dict[str, Standing]:
        return {p.name: Standing(self.position(p), self.errors.get(p.name)) for p in projections}

    def position(self, projection: Projection) -> Position:
        return self._positions.get(projection.name, Position(0))

    def load(self, projection: Projection, table: Table, keys: Sequence[Key]) -> dict[Key, Row]:
        stored = self.rows.get((projection.name, table.name), {})
        # Copied, as from a database: a fold changes the rows that it gets, and may fail.
        return {key: deepcopy(stored[key][1]) for key in keys if key in stored}

    def due(self, projection: Projection, now: datetime, limit: int) -> list[Change]:
        stored = self.rows.get((projection.name, projection.tables[0].name), {})
        due = [
            (key, position, row)
            for key, (position, row) in stored.items()
            if row["next_change_at"] is not None and row["next_change_at"] <= now
        ]
        return sorted(due, key=lambda one: one[2]["next_change_at"])[:limit]

    def save(
        self,
        projection: Projection,
        expected: Position,
        position: Position,
        changes: Changes,
        folded: Folded,
    ) -> None:
        if self.position(projection) != expected:
            raise Fenced(f"projection {projection.name} is not at position {expected}")
        self._positions[projection.name] = position
        self.errors.pop(projection.name, None)
        known = self.folded.setdefault(projection.name, {})
        for start, (n, together) in folded.ranges.items():
            counted, others = known.get(start, (0, 0))
            known[start] = counted + n, others ^ together
        for table, changed in changes.items():
            stored = self.rows.setdefault((projection.name, table.name), {})
            for key, touched, row in changed.added:
                assert key not in stored
                stored[key] = (touched, dict(row))
            for key, touched, row in changed.replaced:
                stored[key] = (touched, dict(row))
            for key in changed.dropped:
                stored.pop(key, None)
            width = len(table.key)
            for *values, touched in changed.appended:
                key = tuple(values[:width])
                assert key not in stored
                stored[key] = (touched, dict(zip(table.columns, values[width:], strict=True)))
            for key, touched, amounts in changed.summed:
                before, row = stored.get(key, (touched, dict.fromkeys(table.columns, 0)))
                stored[key] = (max(before, touched), {name: row[name] + amounts[name] for name in table.columns})

    def stopped(self, projection: Projection, position: Position, error: str) -> None:
        if self.position(projection) == position:
            self.errors[projection.name] = error
