"""From the log to the read models: read a range of positions, load the touched rows, fold, write, move the position.

Every projection has its own position, saved in the transaction of its rows; so a batch counts once, whatever happens.
Those that stand together share the read, the load and the transaction. A projection that cannot fold an event stops
where it is and says so; the others go on.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from consumers.held_rows import HeldRows
from domain.ports import EventLog, Unavailable
from domain.values import Position, Recorded
from infra.failpoints import reach
from projections.completeness import Folded, proofs_of
from projections.declare import (
    CannotFold,
    Change,
    Changed,
    Changes,
    Key,
    Mark,
    Projection,
    Row,
    Save,
    Standing,
    Table,
    Wanted,
    personal_for,
)

log = structlog.get_logger("kehu.projector")

KEPT = 5000
"""Rows of a table that stay in memory after a batch, for those that follow."""


class ReadModels(Protocol):
    """Where rows and positions of projections are kept."""

    def standing(self, projections: Sequence[Projection]) -> Mapping[str, Standing]:
        """How each projection stands, by name; one that is absent is not kept here."""

    def position(self, projection: Projection) -> Position:
        """The last position that is folded; 0 at the start."""

    def load(self, wanted: Sequence[Wanted]) -> Sequence[Mapping[Key, Row]]:
        """The rows that exist under the keys of each."""

    def due(self, projection: Projection, now: datetime, limit: int) -> Sequence[Change]:
        """Rows of the first table whose `next_change_at` has come, the longest due first."""

    def save(self, saves: Sequence[Save]) -> Mapping[str, Mark]:
        """Write rows, positions and what was folded in one transaction; the new marks, by name.

        One that stands elsewhere or has another mark by now is left out, and not written.
        """

    def stopped(self, projection: Projection, position: Position, error: str) -> None:
        """Keep why the projection stopped, unless another projector moved it from this position."""


@dataclass(slots=True)
class _Held:
    """What is known of a projection: where it is saved, and rows that are as they are in the store."""

    projection: Projection
    position: Position
    mark: Mark
    rows: HeldRows


@dataclass(slots=True)
class Projector:
    """Keeps projections up with the log, one batch at a time. What stopped or rests is left out until it may go on."""

    log: EventLog
    models: ReadModels
    projections: Sequence[Projection]
    batch: int = 2000
    stopped: dict[str, str] = field(default_factory=dict)
    """Name -> where and why, of those that cannot fold an event."""
    _held: dict[str, _Held] = field(default_factory=dict)

    def run_once(self) -> int:
        """Fold the next events into every projection, those that are near each other at once; by how many positions.

        One that is far behind has reads of its own, so that the others stay with the log.
        """
        running = sorted(self._running(), key=lambda one: one.position)
        head, moved = self.log.head(), 0
        while running:
            start = running[0].position
            end = Position(min(start + self.batch, head))
            near = [one for one in running if one.position < end]
            if not near:
                break
            names = frozenset().union(*(one.projection.handles for one in near))
            personal = personal_for(one.projection for one in near)
            self._fold(near, self.log.read(start, end - start, names, personal), end)
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
        for one in self._running():
            projection = one.projection
            if projection.sweep is None:
                continue
            if due := self.models.due(projection, now, limit):
                changes = _swept(projection, projection.sweep, due, now)
                self._saved([Save(projection, one.position, one.mark, one.position, changes, Folded())])
                swept += len(due)
        return swept

    def _running(self) -> list[_Held]:
        standing = self.models.standing(self.projections)
        self.stopped = {name: one.error for name, one in standing.items() if one.error}
        running = []
        for projection in self.projections:
            one = standing.get(projection.name)
            if one is None or one.error or one.paused:
                continue
            try:
                running.append(self._since(projection, one))
            except ValueError as error:  # its model is none that this release can use
                self._stop(projection, one.position, str(error))
        return running

    def _since(self, projection: Projection, standing: Standing) -> _Held:
        """What is held of it; nothing when somebody else has saved since."""
        known = self._held.get(projection.name)
        if known and known.position == standing.position and known.mark == standing.mark:
            return known
        if standing.model is not None and projection.using is not None:
            projection = projection.using(standing.model)

        def load(table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
            return self.models.load([(projection, table, keys)])[0]

        # With its first position a build gets its first rows.
        rows = HeldRows(projection, load, empty=not standing.position)
        return _Held(projection, standing.position, standing.mark, rows)

    def _lowest(self) -> Position:
        return min((one.position for one in self._running()), default=Position(0))

    def _fold(self, near: Sequence[_Held], events: Sequence[Recorded], end: Position) -> None:
        # Whatever goes wrong in between, the rows are of no use then.
        for one in near:
            self._held.pop(one.projection.name, None)
        proofs = proofs_of(events)
        folded = []
        for one in self._prefetched(near, events, end):
            with self._stopping(one, end):
                start = _start(one.position, events)
                one.rows.fold(events[start:], proofs[start:])
                reach("folded")
                folded.append(one)
        self._write(folded, end)

    def _prefetched(self, near: Sequence[_Held], events: Sequence[Recorded], end: Position) -> Sequence[_Held]:
        """Those of which everything is loaded that the events certainly touch."""
        wanted: list[tuple[_Held, Table, Sequence[Key]]] = []
        known = []
        for one in near:
            with self._stopping(one, end):
                new = events[_start(one.position, events) :]
                wanted += [(one, *rows) for rows in one.rows.wanted(new).items()]
                known.append(one)
        if not wanted:
            return known
        try:
            found = self.models.load([(one.projection, table, keys) for one, table, keys in wanted])
        except (Unavailable, OSError):
            raise  # the store is away
        except Exception:
            return known  # the fold asks for the rows that it needs, and fails with them
        for (one, table, keys), rows in zip(wanted, found, strict=True):
            one.rows.keep(table, keys, rows)
        return known

    def _write(self, folded: Sequence[_Held], end: Position) -> None:
        """Save what was folded up to a position: all in one transaction, or each in its own when that fails."""
        ready = []
        for one in folded:
            with self._stopping(one, end):
                save = Save(one.projection, one.position, one.mark, end, one.rows.changes(), one.rows.folded)
                ready.append((one, save))
        try:
            self._wrote(ready)
        except (Unavailable, OSError):
            raise  # the store is away
        except Exception:
            for one, save in ready:
                with self._stopping(one, end):
                    self._wrote([(one, save)])

    def _wrote(self, ready: Sequence[tuple[_Held, Save]]) -> None:
        marks = self._saved([save for _, save in ready])
        for one, save in ready:
            if mark := marks.get(one.projection.name):
                one.rows.saved(KEPT)
                one.position, one.mark = save.position, mark
                self._held[one.projection.name] = one

    def _saved(self, saves: Sequence[Save]) -> Mapping[str, Mark]:
        if not saves:
            return {}
        marks = self.models.save(saves)
        reach("saved")
        for save in saves:
            name = save.projection.name
            if name not in marks:
                log.warning("another projector moved this projection", projection=name, position=save.expected)
        return marks

    @contextmanager
    def _stopping(self, one: _Held, end: Position) -> Iterator[None]:
        """Whatever goes wrong with one projection stops it alone, unless it is the store that is away."""
        try:
            yield
        except (Unavailable, OSError):
            raise
        except CannotFold as error:
            self._stop(one.projection, one.position, str(error))
        except Exception as error:
            where = f"between positions {one.position + 1} and {end}"
            self._stop(one.projection, one.position, f"{where}: {type(error).__name__}: {error}")

    def _stop(self, projection: Projection, position: Position, error: str) -> None:
        log.error("projection stopped", projection=projection.name, error=error)
        self.stopped[projection.name] = error
        self.models.stopped(projection, position, error)


def _swept(
    projection: Projection, sweep: Callable[[Row, datetime], Row], due: Sequence[Change], now: datetime
) -> Changes:
    """What becomes of rows of the first table, and of those that are selected."""
    selection, changed, picked = projection.selection, Changed(), Changed()
    for key, position, row in due:
        before = selection is not None and selection.pick(row) is not None
        change: Change = key, position, sweep(row, now)
        changed.replaced.append(change)
        if selection is not None:
            selection.changed(picked, before, change)
    changes = {projection.tables[0]: changed}
    if selection is not None and picked != Changed():
        changes[selection.table] = picked
    return changes


def _start(position: Position, events: Sequence[Recorded]) -> int:
    """The index of the first event behind a position."""
    return bisect_right(events, position, key=lambda event: Position(event.position or 0))
