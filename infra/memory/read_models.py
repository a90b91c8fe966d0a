"""Read models in memory: the reference for the conformance suite, and all that a unit test needs."""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime

from domain.values import Position
from projections.declare import Change, Key, Mark, Projection, Row, Save, Standing, Wanted


class MemoryReadModels:
    """Rows and positions in dictionaries."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[Key, tuple[Position, Row]]] = {}
        self._positions: dict[str, Position] = {}
        self._saves: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self.folded: dict[str, dict[int, tuple[int, int]]] = {}

    def standing(self, projections: Sequence[Projection]) -> dict[str, Standing]:
        return {
            p.name: Standing(position, self.errors.get(p.name), mark=mark)
            for p in projections
            for position, mark in (self._stands(p),)
        }

    def position(self, projection: Projection) -> Position:
        return self._positions.get(projection.name, Position(0))

    def load(self, wanted: Sequence[Wanted]) -> list[dict[Key, Row]]:
        stored = [(self.rows.get((projection.name, table.name), {}), keys) for projection, table, keys in wanted]
        # Copied, as from a database: a fold changes the rows that it gets.
        return [{key: deepcopy(rows[key][1]) for key in keys if key in rows} for rows, keys in stored]

    def due(self, projection: Projection, now: datetime, limit: int) -> list[Change]:
        stored = self.rows.get((projection.name, projection.tables[0].name), {})
        due = [
            (key, position, row)
            for key, (position, row) in stored.items()
            if row["next_change_at"] is not None and row["next_change_at"] <= now
        ]
        return sorted(due, key=lambda one: one[2]["next_change_at"])[:limit]

    def save(self, saves: Sequence[Save]) -> dict[str, Mark]:
        ours = [one for one in saves if self._stands(one.projection) == (one.expected, one.mark)]
        for one in ours:
            self._save(one)
        return {one.projection.name: self._stands(one.projection)[1] for one in ours}

    def _stands(self, projection: Projection) -> tuple[Position, Mark]:
        return self.position(projection), (self._saves.get(projection.name, 0),)

    def _save(self, one: Save) -> None:
        name = one.projection.name
        self._positions[name] = one.position
        self._saves[name] = self._saves.get(name, 0) + 1
        self.errors.pop(name, None)
        known = self.folded.setdefault(name, {})
        for start, (n, together) in one.folded.ranges.items():
            counted, others = known.get(start, (0, 0))
            known[start] = counted + n, others ^ together
        for table, changed in one.changes.items():
            stored = self.rows.setdefault((name, table.name), {})
            for key, touched, row in changed.added:
                assert key not in stored
                stored[key] = (touched, deepcopy(row))
            for key, touched, row in changed.replaced:
                stored[key] = (touched, deepcopy(row))
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
