"""The rows of one projection in memory while events are folded: loaded once, folded, and then written once.

They may stay for the batches that follow, since a row that was touched is often touched again soon.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from domain.ports import Unavailable
from domain.values import Position, Recorded
from projections.completeness import Folded, Proof
from projections.declare import CannotFold, Change, Changed, Changes, Key, Projection, Row, Table

Load = Callable[[Table, Sequence[Key]], Mapping[Key, Row]]


class _Held:
    """What is known of a row. `absent`: the store has none under its key; `touched` by the event at this position."""

    __slots__ = ("absent", "row", "touched")

    def __init__(self, row: Row | None, touched: Position | None, absent: bool) -> None:
        self.row, self.touched, self.absent = row, touched, absent


class HeldRows:
    """Keeps `projections.declare.Rows` from one save to the next. When it is `empty`, the store has no rows yet."""

    def __init__(self, projection: Projection, load: Load, *, empty: bool) -> None:
        self._projection = projection
        self._load = load
        self._empty = empty
        self._tables: dict[Table, dict[Key, _Held]] = {table: {} for table in projection.tables}
        self._appended: dict[Table, list[tuple[Any, ...]]] = {t: [] for t in projection.tables if t.appended}
        # What the store has, as batches before have saved it. Those that were used last are the last.
        self._kept: dict[Table, dict[Key, Row | None]] = {table: {} for table in projection.tables}
        self._zeros = {table: dict.fromkeys(table.columns, 0) for table in projection.tables if table.summed}
        self._position = Position(0)
        self.folded = Folded()

    def fold(self, events: Sequence[Recorded], proofs: Sequence[Proof]) -> None:
        """Fold those of the events that the projection handles; `proofs` are those of all of them, in the same order.

        Raises CannotFold; what is held is of no use then.
        """
        handles, fold = self._projection.handles, self._projection.fold
        done: list[Proof] = []
        event = None
        try:
            for event, proof in zip(events, proofs, strict=True):
                if event.name in handles:
                    position = event.position
                    assert position is not None
                    self._position = position
                    fold(self, event)
                    done.append(proof)
        except (Unavailable, OSError):
            raise  # the store is away
        except Exception as error:
            where = f"at position {event.position} ({event.name})" if event else "before the first event"
            raise CannotFold(f"{where}: {type(error).__name__}: {error}") from error
        self.folded.add(done)

    def wanted(self, events: Iterable[Recorded]) -> dict[Table, list[Key]]:
        """What these events certainly load and is not held yet, for `keep`."""
        wanted: dict[Table, dict[Key, None]] = {}
        if self._empty:
            return {}
        for event in events:
            if event.name not in self._projection.handles:
                continue
            for table, key in self._projection.keys(event):
                if self._known(table, key) is None:
                    wanted.setdefault(table, {})[key] = None
        return {table: list(keys) for table, keys in wanted.items()}

    def keep(self, table: Table, keys: Iterable[Key], found: Mapping[Key, Row]) -> None:
        """Hold what the store has under these keys."""
        rows = self._tables[table]
        for key in keys:
            row = found.get(key)
            rows[key] = _Held(row, None, absent=row is None)

    def saved(self, most: int) -> None:
        """What changed is in the store now: hold on to so many rows of each table, those that were used last."""
        self._empty = False
        self.folded = Folded()
        for appended in self._appended.values():
            appended.clear()
        for table, rows in self._tables.items():
            if not table.summed:
                kept = self._kept[table]
                kept.update((key, held.row) for key, held in rows.items())
                for key in list(islice(kept, max(0, len(kept) - most))):
                    del kept[key]
            rows.clear()

    def get(self, table: Table, key: Key) -> Row | None:
        held = self._tables[table].get(key) or self._loaded(table, key)
        return held.row if held else None

    def edit(self, table: Table, key: Key) -> Row | None:
        held = self._tables[table].get(key) or self._loaded(table, key)
        if held is None or held.row is None:
            return None
        held.touched = self._position
        return held.row

    def put(self, table: Table, key: Key, row: Row) -> None:
        rows = self._tables[table]
        held = rows.get(key)
        if held is None:
            rows[key] = _Held(row, self._position, self._empty)
        else:
            held.row, held.touched = row, self._position

    def append(self, table: Table, *row: Any) -> None:
        self._appended[table].append((*row, self._position))

    def add(self, table: Table, key: Key, **amounts: int) -> None:
        rows = self._tables[table]
        held = rows.get(key)
        if held is None:
            held = rows[key] = _Held(self._zeros[table].copy(), self._position, absent=False)
        elif held.touched is None or self._position > held.touched:  # customers come one after the other in a fill
            held.touched = self._position
        row = held.row
        assert row is not None
        for name, amount in amounts.items():
            row[name] += amount

    def drop(self, table: Table, key: Key) -> None:
        if self._empty:
            self._tables[table].pop(key, None)
        elif held := self._known(table, key):
            held.row, held.touched = None, self._position
        else:
            self._tables[table][key] = _Held(None, self._position, absent=False)

    def changes(self) -> Changes:
        """What a save has to write: the rows of each table that changed, finished."""
        picked = self._finished()
        changes = {table: changed for table in self._projection.tables if (changed := self._changed(table))}
        if self._projection.selection is not None and picked != Changed():
            changes[self._projection.selection.table] = picked
        return changes

    def _finished(self) -> Changed:
        """Finish the rows of the first table that changed; what that does to those that are selected."""
        finish, selection, picked = self._projection.finish, self._projection.selection, Changed()
        if finish is None:
            return picked
        for key, held in self._tables[self._projection.tables[0]].items():
            if held.touched is None or held.row is None:
                continue
            before = selection is not None and selection.pick(held.row) is not None
            held.row = finish(held.row)
            if selection is not None:
                selection.changed(picked, before, (key, held.touched, held.row))
        return picked

    def _changed(self, table: Table) -> Changed | None:
        if table.appended:
            return Changed(appended=self._appended[table]) if self._appended[table] else None
        changed = Changed()
        for key, held in self._tables[table].items():
            if held.touched is None:
                continue
            if held.row is None:
                if not held.absent:
                    changed.dropped.append(key)
                continue
            change: Change = key, held.touched, held.row
            (changed.summed if table.summed else changed.added if held.absent else changed.replaced).append(change)
        return changed if changed != Changed() else None

    def _known(self, table: Table, key: Key) -> _Held | None:
        """What is known of a row, by this batch or by those before."""
        rows = self._tables[table]
        held = rows.get(key)
        if held is None and key in (kept := self._kept[table]):
            row = kept.pop(key)
            held = rows[key] = _Held(row, None, absent=row is None)
        return held

    def _loaded(self, table: Table, key: Key) -> _Held | None:
        """What is known of a row, in the end by the store."""
        held = self._known(table, key)
        if held is None and not self._empty:
            self.keep(table, [key], self._load(table, [key]))
            held = self._tables[table][key]
        return held
