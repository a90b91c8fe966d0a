"""What a projection is: a value with a name, a version, tables, the events it handles, and a pure fold."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.values import Position, Recorded
from projections.completeness import Folded

Row = dict[str, Any]
"""Column -> value. What a fold gets belongs to the batch that is folded: it may change it, and then puts it."""
Key = tuple[Any, ...]
"""The values of the key columns, in their order."""


@dataclass(frozen=True, slots=True)
class Index:
    """An extra index of a table: its columns, in this order.

    With `include` it also holds these, so that whoever asks for no others reads the index alone. With `only`, which
    names a boolean column, it leaves out the rows where that is not true: a question must ask for it to use the index.
    """

    columns: tuple[str, ...]
    include: tuple[str, ...] = ()
    only: str = ""


PLACE = ("branch", "segment")
"""Columns by which a row may be seen by some and not by others."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A read-model table: its key columns, then the others, each with its PostgreSQL type.

    The runner adds `position bigint`: the last event that touched the row, and `changed_at`: when it was last written,
    by an event or by a sweep (docs/adr/0011). `indexes` are those beside the key's.
    Rows of an `appended` table are only appended, each key once; those of a `summed` one are counters that are only
    added to. Neither is ever loaded by the runner. When `clear_after` rows have changed, PostgreSQL clears the table
    up, and not only when a fifth has: an index alone tells what is there as long as nothing near it changed since.
    Of a `followed` table is published what changes (`projections.views`): it has an index on `changed_at`, and the keys
    of rows that are dropped stay for a while in a table beside it (docs/adr/0016), and so does
    where a row was before it moved to another branch or segment.
    Of its `personal` columns PostgreSQL keeps no values to plan by, where nobody could forget them.
    A table is itself only: two declarations are two tables.
    """

    name: str
    key: Mapping[str, str]
    columns: Mapping[str, str]
    indexes: tuple[Index, ...] = ()
    appended: bool = False
    summed: bool = False
    clear_after: int | None = None
    followed: bool = False
    personal: frozenset[str] = frozenset()

    @property
    def every_index(self) -> tuple[Index, ...]:
        """Those that are declared, and the one by which its changes are found."""
        return (*self.indexes, Index(("changed_at",))) if self.followed else self.indexes

    @property
    def removed(self) -> str | None:
        """The name of the table with the keys of its dropped rows; None where nobody asks, or nothing is dropped."""
        return f"{self.name}_removed" if self.followed and not (self.appended or self.summed) else None

    @property
    def placed(self) -> bool:
        """Whether its rows move between branches and segments, and somebody asks where they were."""
        return self.removed is not None and set(PLACE) <= self.columns.keys()


class CannotFold(Exception):
    """A projection cannot fold an event. The message says where and why; it goes from process to process."""


Change = tuple[Key, Position, Row]
"""A row under its key, and the position of the last event that touched it."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What happened to the rows of a table.

    `added` are rows under keys that the store does not have; under those of the others it may have one or not.
    `appended` are whole rows of an appended table: key, columns in their order, and position. `summed` say by how much
    the counters under a key grew.
    """

    added: list[Change] = field(default_factory=list)
    replaced: list[Change] = field(default_factory=list)
    dropped: list[Key] = field(default_factory=list)
    appended: list[tuple[Any, ...]] = field(default_factory=list)
    summed: list[Change] = field(default_factory=list)


Changes = Mapping[Table, Changed]


class Rows(Protocol):
    """The rows that a fold may touch. In memory while a batch is folded, whatever holds them in the end."""

    def get(self, table: Table, key: Key) -> Row | None:
        """The row under the key as it is now, or None. A fold that changes it puts it."""

    def edit(self, table: Table, key: Key) -> Row | None:
        """The same for a row that is changed in any case: it counts as put."""

    def put(self, table: Table, key: Key, row: Row) -> None:
        """Replace the row: all columns except key and position. `position` is set to that of the folded event."""

    def append(self, table: Table, *row: Any) -> None:
        """Add a row to an appended table: its key and its columns, in their order."""

    def add(self, table: Table, key: Key, **amounts: int) -> None:
        """Add to counters of a row of a summed table; one that is not there yet begins with zeros."""

    def drop(self, table: Table, key: Key) -> None:
        """Remove the row."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of a projection's first table, which drops none, that somebody shall see to: in a table of their own.

    `pick` makes such a row from one of the first table, which has the same key, or None. Only `finish` and `sweep` may
    fill what it decides by: whoever runs them picks before and after, and so knows what comes and goes.
    """

    table: Table
    pick: Callable[[Row], Row | None]

    def changed(self, into: Changed, before: bool, change: Change) -> None:
        """Add to what happens to the table when a row of the first one has changed; `before`: whether it was picked."""
        key, position, row = change
        picked = self.pick(row)
        if picked is not None:
            (into.replaced if before else into.added).append((key, position, picked))
        elif before:
            into.dropped.append(key)


@dataclass(frozen=True, slots=True)
class Projection:
    """A read model: how it is made from the log. A changed fold or table means a new version.

    `handles` are the stored event names it wants; the others only move its position. `keys` names the rows that an
    event certainly loads, so that a batch loads them all at once; any other row is loaded when the fold asks.
    `fold(rows, event)` depends on its arguments only: time comes from the event. Any row follows from the events of one
    customer alone, so that customers can be folded one by one; only a summed table adds up over customers.
    """

    name: str
    version: int
    tables: tuple[Table, ...]
    handles: frozenset[str]
    keys: Callable[[Recorded], tuple[tuple[Table, Key], ...]]
    fold: Callable[[Rows, Recorded], None]
    personal: frozenset[str] = frozenset()
    """Names of the events whose personal fields it reads. Those of the others it is given hidden: that spares opening
    them, and what is forgotten can be in no row."""
    sweep: Callable[[Row, Any], Row] | None = None
    """Re-evaluates one row of the first table for a moment; for projections whose rows carry `next_change_at`."""
    finish: Callable[[Row], Row] | None = None
    """Fills what follows from the rest of a row of the first table, once for all events of a batch that touched it."""
    selection: Selection | None = None
    """A table that no fold touches: what `finish` and `sweep` lead to decides which rows are in it."""
    using: "Callable[[bytes], Projection] | None" = None
    """The same projection with a model that is data: for builds that name one. It may change only what `finish` and
    `sweep` fill."""


def personal_for(projections: Iterable[Projection]) -> frozenset[str]:
    """Names of the events whose personal fields some of these read."""
    return frozenset().union(*(one.personal for one in projections))


Mark = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a projection is folded, and what keeps it from going on: where and why it stopped, or that it rests."""

    position: Position
    error: str | None = None
    paused: bool = False
    mark: Mark = ()
    """Which build it is and when it was last saved. As long as that is the same, so are its rows and its model."""
    model: bytes | None = None
    """What the projection is made with by its `using`; None: as it is declared."""


Wanted = tuple[Projection, Table, Sequence[Key]]
"""Rows of a table that are asked for."""


@dataclass(frozen=True, slots=True)
class Save:
    """What becomes of a projection, provided that it stands at `expected` and that its mark is still this one."""

    projection: Projection
    expected: Position
    mark: Mark
    position: Position
    changes: Changes
    folded: Folded
