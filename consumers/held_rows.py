"""The rows of one projection in memory while events are folded: loaded once, folded, and then written once.

They may be held over many batches, so that a row that a hundred events touch is written once and not a hundred times.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.ports import Unavailable
from domain.values import Position, Recorded
from projections.completeness import Folded
from projections.declare import Changed, Changes, Key, Projection, Row, Table

Load = Callable[[Table, Sequence[Key]], Mapping[Key, Row]]


class CannotFold(Exception):
    """A projection cannot fold an event. The message says where and why; it goes from process to process."""


@dataclass(slots=True)
class _Held:
    """What is known of one table. `absent` are keys under which the store had no row when it was asked."""

    rows: dict[Key, Row | None] = field(default_factory=dict)
    changed: dict[Key, Position] = field(default_factory=dict)
    absent: set[Key] = field(default_factory=set)


class HeldRows:
    """Keeps `projections.declare.Rows` from one save to the next. When it is `empty`, the store has no rows yet."""

    def __init__(self, projection: Projection, load: Load, *, empty: bool) -> None:
        self._projection = projection
        self._load = load
        self._empty = empty
        self._tables = {table: _Held() for table in projection.tables}
        self.folded = Folded()
        self._position = Position(0)

    def fold(self, events: Iterable[Recorded], marks: Mapping[Position, int]) -> None:
        """Fold those of the events that the projection handles; `marks` are the digests of all of them.

        Raises CannotFold; what is held is of no use then.
        """
        handles, fold, count = self._projection.handles, self._projection.fold, self.folded.add
        event = None
        try:
            for event in events:
                if event.name in handles:
                    position = event.position
                    assert position is not None
                    self._position = position
                    fold(self, event)
                    count(position, marks[position])
        except (Unavailable, OSError):
            raise  # the store is away
        except Exception as error:
            where = f"at position {event.position} ({event.name})" if event else "before the first event"
            raise CannotFold(f"{where}: {type(error).__name__}: {error}") from error

    def prefetch(self, events: Sequence[Recorded]) -> None:
        """Load what these events certainly touch, with one query per table."""
        if self._empty:
            return
        wanted: dict[Table, dict[Key, None]] = {}
        for event in events:
            if event.name not in self._projection.handles:
                continue
            for table, key in self._projection.keys(event):
                held = self._tables[table]
                if key not in held.rows:
                    wanted.setdefault(table, {})[key] = None
        for table, keys in wanted.items():
            self._fetch(table, list(keys))

    def get(self, table: Table, key: Key) -> Row | None:
        rows = self._tables[table].rows
        if key not in rows:
            if self._empty:
                return None
            self._fetch(table, [key])
        return rows[key]

    def get_all(self, table: Table, keys: Sequence[Key]) -> Sequence[Row | None]:
        rows = self._tables[table].rows
        if self._empty:
            return [rows.get(key) for key in keys]
        if missing := [key for key in keys if key not in rows]:
            self._fetch(table, missing)
        return [rows[key] for key in keys]

    def put(self, table: Table, key: Key, row: Row) -> None:
        held = self._tables[table]
        held.rows[key] = row
        held.changed[key] = self._position

    def drop(self, table: Table, key: Key) -> None:
        held = self._tables[table]
        if self._empty:
            held.rows.pop(key, None)
            held.changed.pop(key, None)
        else:
            held.rows[key] = None
            held.changed[key] = self._position

    @property
    def size(self) -> int:
        """How many rows are held."""
        return sum(len(held.rows) for held in self._tables.values())

    def changes(self) -> Changes:
        """What a save has to write: the rows of each table that changed, finished."""
        return {table: self._changed(table, held) for table, held in self._tables.items() if held.changed}

    def _changed(self, table: Table, held: _Held) -> Changed:
        finish = self._projection.finish if table is self._projection.tables[0] else None
        new = self._empty or table.appended
        changed = Changed()
        for key, position in held.changed.items():
            row = held.rows[key]
            if row is None:
                changed.dropped.append(key)
            else:
                change = key, position, finish(row) if finish else row
                (changed.added if new or key in held.absent else changed.replaced).append(change)
        return changed

    def _fetch(self, table: Table, keys: Sequence[Key]) -> None:
        held, found = self._tables[table], self._load(table, keys)
        for key in keys:
            held.rows[key] = row = found.get(key)
            if row is None:
                held.absent.add(key)
