"""From the log to the read models: read a range of positions, load the touched rows, fold, write, move the position.

Every projection has its own position, saved in the transaction of its rows; so a batch counts once, whatever happens.
A projection that cannot fold an event stops where it is and says so; the others go on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from domain.ports import EventLog, Fenced, Unavailable
from domain.values import Position, Recorded
from infra.failpoints import reach
from projections.completeness import Folded, digests
from projections.declare import Changes, Key, Projection, Row, Standing, Table

log = structlog.get_logger("kehu.projector")


class ReadModels(Protocol):
    """Where rows and positions of projections are kept."""

    def standing(self, projections: Sequence[Projection]) -> Mapping[str, Standing]:
        """How each projection stands, by name; one that is absent is not kept here."""

    def position(self, projection: Projection) -> Position:
        """The last position that is folded; 0 at the start."""

    def load(self, projection: Projection, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        """The rows that exist under these keys."""

    def due(self, projection: Projection, now: datetime, limit: int) -> Mapping[Key, Row]:
        """Rows of the first table whose `next_change_at` has come."""

    def save(
        self,
        projection: Projection,
        expected: Position,
        position: Position,
        changes: Changes,
        folded: Folded,
    ) -> None:
        """Write rows, position and what was folded in one transaction; raises Fenced when the position is another."""

    def stopped(self, projection: Projection, position: Position, error: str) -> None:
        """Keep why the projection stopped, unless another projector moved it from this position."""


class BatchRows:
    """The rows of one batch in memory: loaded once, folded, and then written once."""

    def __init__(self, load: Callable[[Table, Sequence[Key]], Mapping[Key, Row]]) -> None:
        self._load = load
        self._rows: dict[Table, dict[Key, Row | None]] = {}
        self.changes: dict[Table, dict[Key, tuple[Position, Row | None]]] = {}
        self.position = Position(0)

    def prefetch(self, keys: Mapping[Table, set[Key]]) -> None:
        """Load these rows with one query per table."""
        for table, wanted in keys.items():
            known = self._rows.setdefault(table, {})
            if missing := [key for key in wanted if key not in known]:
                found = self._load(table, missing)
                for key in missing:
                    known[key] = found.get(key)

    def get(self, table: Table, key: Key) -> Row | None:
        known = self._rows.setdefault(table, {})
        if key not in known:
            known[key] = self._load(table, [key]).get(key)
        return known[key]

    def put(self, table: Table, key: Key, row: Row) -> None:
        self._rows.setdefault(table, {})[key] = row
        self.changes.setdefault(table, {})[key] = (self.position, row)

    def drop(self, table: Table, key: Key) -> None:
        self._rows.setdefault(table, {})[key] = None
        self.changes.setdefault(table, {})[key] = (self.position, None)

    def finish(self, projection: Projection) -> None:
        """Fill what follows from the rest of each changed row."""
        if projection.finish is None:
            return
        changed = self.changes.get(projection.tables[0], {})
        for key, (position, row) in changed.items():
            if row is not None:
                changed[key] = position, projection.finish(row)


@dataclass(slots=True)
class Projector:
    """Keeps projections up with the log, one batch at a time. What stopped or rests is left out until it may go on."""

    log: EventLog
    models: ReadModels
    projections: Sequence[Projection]
    batch: int = 2000
    stopped: dict[str, str] = field(default_factory=dict)
    """Name -> where and why, of those that cannot fold an event."""

    def run_once(self) -> int:
        """Fold the next events into every projection, those that are near each other at once; how many were read.

        One that is far behind has reads of its own, so that the others stay with the log.
        """
        running = sorted(self._running(), key=lambda one: one[1])
        read = 0
        while running:
            start = running[0][1]
            events = self.log.read(start, self.batch)
            read += len(events)
            marks = dict(digests(events))
            near = [one for one in running if one[1] < start + self.batch]
            for projection, position in near:
                new = [e for e in events if e.position is not None and e.position > position]
                self._fold(projection, position, new, marks)
            running = running[len(near) :]
        return read

    def run_until_caught_up(self, progress: Callable[[Position], None] = lambda _position: None) -> Position:
        """Fold until nothing is left to read; returns the lowest position of the running projections."""
        while self.run_once():
            progress(self._lowest())
        return self._lowest()

    def sweep(self, now: datetime, limit: int = 2000) -> int:
        """Re-evaluate the rows whose time has come; returns how many."""
        swept = 0
        for projection, position in self._running():
            if projection.sweep is None:
                continue
            rows = self.models.due(projection, now, limit)
            table = projection.tables[0]
            changed = {key: (position, projection.sweep(row, now)) for key, row in rows.items()}
            if changed:
                self._save(projection, position, position, {table: changed}, Folded())
                swept += len(changed)
        return swept

    def _running(self) -> list[tuple[Projection, Position]]:
        standing = self.models.standing(self.projections)
        self.stopped = {name: one.error for name, one in standing.items() if one.error}
        return [
            (projection, one.position)
            for projection in self.projections
            if (one := standing.get(projection.name)) and not one.error and not one.paused
        ]

    def _lowest(self) -> Position:
        return min((position for _, position in self._running()), default=Position(0))

    def _fold(
        self, projection: Projection, position: Position, events: Sequence[Recorded], marks: Mapping[Position, int]
    ) -> None:
        if not events:
            return
        rows = BatchRows(lambda table, keys: self.models.load(projection, table, keys))
        wanted = [e for e in events if e.name in projection.handles]
        last, folded = events[-1].position, Folded()
        assert last is not None
        where = f"between positions {position + 1} and {last}"
        try:
            rows.prefetch(_keys(projection, wanted))
            for event in wanted:
                assert event.position is not None
                rows.position = event.position
                where = f"at position {event.position} ({event.name})"
                projection.fold(rows, event)
                folded.add(event.position, marks[event.position])
            where = f"between positions {position + 1} and {last}"
            rows.finish(projection)
            reach("folded")
            self._save(projection, position, last, rows.changes, folded)
        except (Unavailable, OSError):
            raise  # the store is away
        except Exception as error:
            # Never skip: a row that was not folded would be missed silently.
            self._stop(projection, position, f"{where}: {type(error).__name__}: {error}")

    def _save(
        self, projection: Projection, expected: Position, position: Position, changes: Changes, folded: Folded
    ) -> None:
        try:
            self.models.save(projection, expected, position, changes, folded)
            reach("saved")
        except Fenced:
            log.warning("another projector moved this projection", projection=projection.name, position=expected)

    def _stop(self, projection: Projection, position: Position, error: str) -> None:
        log.error("projection stopped", projection=projection.name, error=error)
        self.stopped[projection.name] = error
        self.models.stopped(projection, position, error)


def _keys(projection: Projection, events: Sequence[Recorded]) -> dict[Table, set[Key]]:
    """The rows that these events certainly touch."""
    keys: dict[Table, set[Key]] = {}
    for event in events:
        for table, key in projection.keys(event):
            keys.setdefault(table, set()).add(key)
    return keys
