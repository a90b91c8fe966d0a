"""Read models as they stood at a moment, for one connection: the same folds over another part of the log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from consumers.filling import fill
from consumers.touches import Touches
from domain import handling
from domain.values import Position
from infra.postgres.as_of import AsOf, Resolved
from infra.postgres.copying import Piece, pieces
from infra.postgres.past import Moment, Past
from infra.postgres.past_tables import make_touches, set_aside, touches_of, written
from infra.postgres.replayed import NothingLive, digest_of, digests_beside, live_build, prepare_changes
from infra.postgres.risk_models import as_scored
from infra.postgres.slices import slices_of
from infra.spread import Send, spread
from projections.catalogue import ALL
from projections.completeness import Folded
from projections.declare import Changed, Changes, Projection, Row, Table, personal_for

Conn = psycopg.Connection[dict[str, Any]]
Told = Callable[[int], None]
"""Hears how many events of the log were read since."""
FROM = Position(50_000)
"""Events of the log from which on it is worth to start other processes."""
_OPTIONS = "-c timezone=UTC -c search_path=kehu -c jit=off"


def _quietly(_events: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class How:
    """How a replay is done: who hears of it, and by how many processes.

    More than one need `postgres`, to connect by themselves, and are for all customers of a log that is long enough.
    """

    told: Told = _quietly
    postgres: str = ""
    processes: int = 1
    snapshot: str = ""
    """What the others see of the database, where it shall be the same: a snapshot that this connection exported."""


ALONE = How()


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process folds: read models, or one table of one, by what counted."""

    names: Sequence[str]
    past: Past
    scored_at: datetime
    """By the champion of that time is scored what a model scores."""
    only: str | None = None
    swept_at: datetime | None = None
    """The time as of which rows are finished that time changes; None as of their last event."""
    apart_from: Resolved | None = None
    """The other moment, where it is noted which events touched a row that do not count then."""


def replay(
    conn: "psycopg.Connection[Any]",
    projections: Sequence[Projection],
    moment: Moment,
    customers: Sequence[str] = (),
    how: How = ALONE,
) -> Position:
    """Make these read models as they stood, for all customers or for some; returns the last position that counts.

    What a model scores is scored by the one that was the champion then. Raises CannotFold.
    """
    with conn.transaction():
        past = Past.of(conn, moment, customers)
    part = _Part([one.name for one in projections], past, moment.known_by or moment.happened_by)
    tables = [table for projection in projections for table in projection.tables]
    _make(conn, part, tables, how, indexed=not customers)
    return past.last


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which table of a read model is replayed, for all customers or for some."""

    projection: Projection
    table: Table
    customers: Sequence[str] = ()


def replay_table(
    conn: "psycopg.Connection[Any]",
    wanted: Wanted,
    of: Resolved,
    how: How = ALONE,
    *,
    apart_from: Resolved | None = None,
) -> None:
    """Make one table of a read model as it stood; rows that time changes are as they were at that time.

    With `apart_from` it is noted which events touched a row of the table that do not count at that moment; see
    `infra.postgres.past_tables.make_touches`. Raises CannotFold.
    """
    with conn.transaction():
        past = Past.of(conn, of.moment, wanted.customers)
    part = _Part([wanted.projection.name], past, of.at, wanted.table.name, of.at, apart_from)
    _make(conn, part, [wanted.table], how, indexed=False)


def _make(conn: "psycopg.Connection[Any]", part: _Part, tables: Sequence[Table], how: How, *, indexed: bool) -> None:
    """Fold a part, or its slices in other processes, and write what comes of it here."""
    several = how.processes > 1 and how.postgres and not part.past.customers and part.past.last >= FROM
    touches = None if part.apart_from is None else touches_of(tables[0])
    with written(conn, tables, touches, indexed=indexed) as write:

        def send(found: Piece | int) -> None:
            if isinstance(found, int):
                how.told(found)
            else:
                write(found)

        if not several:
            _fold(conn, part, send)
            return
        slices = slices_of(part.past.last, how.processes)
        parts = (replace(part, past=replace(part.past, number=n, slices=slices)) for n in range(slices))
        for found in spread(
            [partial(_fold_elsewhere, how.postgres, how.snapshot, one) for one in parts], how.processes
        ):
            send(found)


def _fold_elsewhere(postgres: str, snapshot: str, part: _Part, send: Send) -> None:
    """The same in a process of its own."""
    assert handling.AGGREGATES  # the aggregates register their events when they are imported
    with psycopg.connect(postgres, application_name="kehu-replay", row_factory=dict_row, options=_OPTIONS) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with conn.transaction():
            if snapshot:
                conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
            _fold(conn, part, send)


def _fold(conn: "psycopg.Connection[Any]", part: _Part, send: Send) -> None:
    """Send the rows that follow from a part of the log, and how many events were read since."""
    named = {projection.name: projection for projection in ALL}
    with conn.transaction():
        projections = [as_scored(conn, named[name], part.scored_at) for name in part.names]
        if part.swept_at is not None:
            projections = [as_of(one, part.swept_at) for one in projections]
        tables = [table for one in projections for table in one.tables if part.only in (None, table.name)]
        sent = _Sent(conn, frozenset(tables), part.past.moment.happened_by, send)
        if part.apart_from is not None:
            (first,), (table,) = projections, tables
            # A row of a selection follows from the one of the first table that has its key.
            selected = first.selection is not None and table is first.selection.table
            sent.touches = Touches(first.tables[0] if selected else table, part.apart_from.counts)
            projections = [sent.touches.noting(first)]
        names = frozenset[str]().union(*(one.handles for one in projections))
        fill(projections, part.past.events(conn, names, personal_for(projections), send), sent)


def _exported(conn: Conn) -> str:
    row = conn.execute("SELECT pg_export_snapshot() AS id").fetchone()
    assert row is not None
    return str(row["id"])


@dataclass(slots=True)
class _Sent:
    """Rows that were never written before, sent to whoever writes them; with what touched them, where it is noted."""

    conn: "psycopg.Connection[Any]"
    tables: frozenset[Table]
    at: datetime
    send: Send
    touches: Touches | None = field(default=None, init=False)

    def write(self, projection: Projection, changes: Changes) -> None:
        for table, changed in changes.items():
            if table in self.tables:
                self._send(table, changed)
        if self.touches is not None and (noted := self.touches.take()):
            rows = [(*key, itself, position) for key, position, itself in noted]
            self._send(touches_of(self.touches.table), Changed(appended=rows))

    def count(self, projection: Projection, folded: Folded) -> None:
        """What was folded is a part of the log, and proves nothing."""

    def _send(self, table: Table, changed: Changed) -> None:
        for piece in pieces(self.conn, table, changed, self.at):
            self.send(piece)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A table as it stood: as of when, and its rows."""

    of: Resolved
    rows: int
    digest: str
    """SHA-256 over all columns of all rows: the same for the same moment, whenever it is replayed."""


def table_at(conn: Conn, wanted: Wanted, asked: AsOf, now: datetime, how: How = ALONE) -> Replayed:
    """One table as it stood, in the temporary tables of this connection. Raises NoSuchMoment and CannotFold."""
    with conn.transaction():
        of = asked.resolved(conn, now)
    replay_table(conn, wanted, of, how)
    return Replayed(of, *digest_of(conn, wanted.table))


def table_between(
    conn: Conn, wanted: Wanted, asked: tuple[AsOf, AsOf], now: datetime, how: How = ALONE
) -> tuple[Replayed, Replayed]:
    """The same for two moments: `infra.postgres.replayed.changes` tells what became of the rows of the first one."""
    with conn.transaction():
        one, other = (moment.resolved(conn, now) for moment in asked)
    make_touches(conn, wanted.table)
    replay_table(conn, wanted, one, how, apart_from=other)
    before = Replayed(one, *digest_of(conn, wanted.table))
    set_aside(conn, wanted.table)
    replay_table(conn, wanted, other, how, apart_from=one)
    prepare_changes(conn, wanted.table)
    return before, Replayed(other, *digest_of(conn, wanted.table))


@dataclass(frozen=True, slots=True)
class Beside:
    """A table replayed up to the position of the live read model, and what that one holds."""

    replayed: Replayed
    compared_at: datetime
    digests: tuple[str, str]
    """Of both, of rows that change as time passes as of `compared_at`."""


def table_beside_live(conn: Conn, wanted: Wanted, now: datetime, how: How = ALONE) -> Beside:
    """Both in one snapshot. Raises NothingLive and NoSuchMoment."""
    projection, table = wanted.projection, wanted.table
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    if projection.selection is not None and table is projection.selection.table:
        raise NothingLive(f"{table.name} follows from {projection.tables[0].name}: compare that one")
    with conn.transaction():
        how = replace(how, snapshot=_exported(conn)) if how.processes > 1 else how
        build = live_build(conn, projection)
        of = AsOf(position=build.position).resolved(conn, now)
        replay_table(conn, wanted, of, how)
        replayed = Replayed(of, *digest_of(conn, table))
        return Beside(replayed, now, digests_beside(conn, projection, table, build, now, replayed.digest))


def as_of(projection: Projection, at: datetime) -> Projection:
    """The projection whose rows of the first table are finished as they are at a moment, where time changes them."""
    finish, sweep = projection.finish, projection.sweep
    if sweep is None:
        return projection

    def finished(row: Row) -> Row:
        done = row if finish is None else finish(row)
        change = done["next_change_at"]
        return done if change is None or change > at else sweep(done, at)

    return replace(projection, finish=finished)
