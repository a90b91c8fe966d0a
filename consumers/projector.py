"""From the log to the read models: read a range of positions, load the touched rows, fold, write, move the position.

Every projection has its own position, saved in the transaction of its rows; so a batch counts once, whatever happens.
A projection that cannot fold an event stops where it is and says so; the others go on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from consumers.held_rows import HeldRows
from domain.ports import EventLog, Fenced, Unavailable
from domain.values import Position, Recorded
from infra.failpoints import reach
from projections.completeness import Folded, Mark, marks_of
from projections.declare import CannotFold, Change, Changed, Changes, Key, Projection, Row, Standing, Table

log = structlog.get_logger("kehu.projector")


class ReadModels(Protocol):
    """Where rows and positions of projections are kept."""

    def standing(self, projections: Sequence[Projection]) -> Mapping[str, Standing]:
        """How each projection stands, by name; one that is absent is not kept here."""

    def position(self, projection: Projection) -> Position:
        """The last position that is folded; 0 at the start."""

    def load(self, projection: Projection, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        """The rows that exist under these keys."""

    def due(self, projection: Projection, now: datetime, limit: int) -> Sequence[Change]:
        """Rows of the first table whose `next_change_at` has come, the longest due first."""

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
        """Fold the next events into every projection, those that are near each other at once; by how many positions.

        One that is far behind has reads of its own, so that the others stay with the log.
        """
        running = sorted(self._running(), key=lambda one: one[1])
        head, moved = self.log.head(), 0
        while running:
            start = running[0][1]
            end = Position(min(start + self.batch, head))
            near = [one for one in running if one[1] < end]
            if not near:
                break
            names = frozenset().union(*(projection.handles for projection, _ in near))
            events = self.log.read(start, end - start, names)
            marks = marks_of(events)
            for projection, position in near:
                self._fold(projection, position, events, end, marks)
            moved += end - start
            running = running[len(near) :]
        return moved

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
            due = self.models.due(projection, now, limit)
            if due:
                changed = Changed(replaced=[(key, touched, projection.sweep(row, now)) for key, touched, row in due])
                self._save(projection, position, position, {projection.tables[0]: changed}, Folded())
                swept += len(due)
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
        self,
        projection: Projection,
        position: Position,
        events: Sequence[Recorded],
        end: Position,
        marks: Mapping[Position, Mark],
    ) -> None:
        new = [e for e in events if e.position is not None and e.position > position]
        # With its first position a build gets its first rows.
        load = partial(self.models.load, projection)
        rows = HeldRows(projection, load, empty=position == 0)
        try:
            rows.prefetch(new)
            rows.fold(new, marks)
            reach("folded")
            self._save(projection, position, end, rows.changes(), rows.folded)
        except (Unavailable, OSError):
            raise  # the store is away
        except CannotFold as error:
            self._stop(projection, position, str(error))
        except Exception as error:
            where = f"between positions {position + 1} and {end}"
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
