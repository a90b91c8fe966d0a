"""Read models as they stood at a moment, for one connection: the same folds over another part of the log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg

from consumers.filling import fill
from consumers.touches import Touches
from domain.values import Position
from infra.postgres.as_of import AsOf, Resolved
from infra.postgres.past import Moment, Past, set_aside
from infra.postgres.replayed import NothingLive, digest_of, digests_beside, live_build, prepare_changes
from infra.postgres.risk_models import as_scored
from projections.completeness import Folded
from projections.declare import Changes, Projection, Row, Table, personal_for

Conn = psycopg.Connection[dict[str, Any]]
Told = Callable[[int], None]
"""Hears how many events of the log were read since."""


def _quietly(_events: int) -> None:
    """Nobody listens."""


def replay(
    conn: "psycopg.Connection[Any]",
    projections: Sequence[Projection],
    moment: Moment,
    customers: Sequence[str] = (),
    told: Told = _quietly,
) -> Position:
    """Make these read models as they stood, for all customers or for some; returns the last position that counts.

    What a model scores is scored by the one that was the champion then. `told` hears how many events of the log were
    read since. Raises CannotFold.
    """
    names = frozenset[str]().union(*(one.handles for one in projections))
    with conn.transaction():
        scored = [as_scored(conn, one, moment.known_by or moment.happened_by) for one in projections]
    with Past.begin(conn, moment, scored, customers) as past:
        fill(scored, past.events(names, personal_for(projections), told), past)
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
    told: Told = _quietly,
    *,
    apart_from: Resolved | None = None,
) -> None:
    """Make one table of a read model as it stood; rows that time changes are as they were at that time.

    With `apart_from` it is noted which events touched a row of the table that do not count at that moment; see
    `infra.postgres.past.TOUCHES`. Raises CannotFold.
    """
    with conn.transaction():
        projection = as_of(as_scored(conn, wanted.projection, of.at), of.at)
    personal = personal_for([projection])
    if apart_from is None:
        with Past.begin(conn, of.moment, [projection], wanted.customers, wanted.table) as past:
            fill([projection], past.events(projection.handles, personal, told), past)
        return
    # A row of a selection follows from the one of the first table that has its key.
    selected = projection.selection is not None and wanted.table is projection.selection.table
    touches = Touches(projection.tables[0] if selected else wanted.table, apart_from.counts)
    with Past.begin(conn, of.moment, [projection], wanted.customers, wanted.table) as past:
        past.note(touches.table, ())
        fill([touches.noting(projection)], past.events(projection.handles, personal, told), _Noting(past, touches))


@dataclass(frozen=True, slots=True)
class Replayed:
    """A table as it stood: as of when, and its rows."""

    of: Resolved
    rows: int
    digest: str
    """SHA-256 over all columns of all rows: the same for the same moment, whenever it is replayed."""


def table_at(conn: Conn, wanted: Wanted, asked: AsOf, now: datetime, told: Told = _quietly) -> Replayed:
    """One table as it stood, in the temporary tables of this connection. Raises NoSuchMoment and CannotFold."""
    with conn.transaction():
        of = asked.resolved(conn, now)
    replay_table(conn, wanted, of, told)
    return Replayed(of, *digest_of(conn, wanted.table))


def table_between(
    conn: Conn, wanted: Wanted, asked: tuple[AsOf, AsOf], now: datetime, told: Told = _quietly
) -> tuple[Replayed, Replayed]:
    """The same for two moments: `infra.postgres.replayed.changes` tells what became of the rows of the first one."""
    with conn.transaction():
        one, other = (moment.resolved(conn, now) for moment in asked)
    replay_table(conn, wanted, one, told, apart_from=other)
    before = Replayed(one, *digest_of(conn, wanted.table))
    set_aside(conn, wanted.table)
    replay_table(conn, wanted, other, told, apart_from=one)
    prepare_changes(conn, wanted.table)
    return before, Replayed(other, *digest_of(conn, wanted.table))


@dataclass(frozen=True, slots=True)
class Beside:
    """A table replayed up to the position of the live read model, and what that one holds."""

    replayed: Replayed
    compared_at: datetime
    digests: tuple[str, str]
    """Of both, of rows that change as time passes as of `compared_at`."""


def table_beside_live(conn: Conn, wanted: Wanted, now: datetime, told: Told = _quietly) -> Beside:
    """Both in one snapshot. Raises NothingLive and NoSuchMoment."""
    projection, table = wanted.projection, wanted.table
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    if projection.selection is not None and table is projection.selection.table:
        raise NothingLive(f"{table.name} follows from {projection.tables[0].name}: compare that one")
    with conn.transaction():
        build = live_build(conn, projection)
        of = AsOf(position=build.position).resolved(conn, now)
        replay_table(conn, wanted, of, told)
        replayed = Replayed(of, *digest_of(conn, table))
        return Beside(replayed, now, digests_beside(conn, projection, table, build, now, replayed.digest))


class _Noting:
    """Empty tables that are written, with a note of what touched their rows."""

    def __init__(self, past: Past, touches: Touches) -> None:
        self._past, self._touches = past, touches

    def write(self, projection: Projection, changes: Changes) -> None:
        self._past.write(projection, changes)
        self._past.note(self._touches.table, self._touches.take())

    def count(self, projection: Projection, folded: Folded) -> None:
        self._past.count(projection, folded)


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
