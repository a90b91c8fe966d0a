"""The log up to a moment, and temporary tables of one connection for the read models that follow from it.

Nothing that others see is written. The tables have the names of the read models and hide them from this connection, so
that the same questions ask them; they are gone when it ends.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from domain import registry
from domain.values import Position, Recorded
from infra.postgres import data_keys, indexes
from infra.postgres.builds import make_table, names
from infra.postgres.read_models import add_up_all, write_new
from infra.postgres.slices import AT_ONCE, decoded
from projections.completeness import Folded
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.declare import Changes, Key, Projection, Table

SCHEMA = "pg_temp"
TOUCHES = "kehu_touches"
"""A temporary table: the key columns of a table, the position of an event, and whether it touched that row itself."""
BEFORE = "kehu_before"
"""What a replayed table is called when it has made place for another moment."""
_COUNTS = """SELECT originator_id, originator_version, topic, state, notification_id, recorded_at, customer_id
    FROM kehu.stored_events WHERE notification_id <= {last} AND topic = ANY({topics})"""
FEW = 1000
"""Customers up to which their streams are looked up; of more the whole log is read."""
# One statement, so one moment: which streams the timeline knows, and how far it is folded. It leaves out derived events
# only, which lie in the streams of those that they were derived from.
_STREAMS = """SELECT p.position,
        ARRAY(SELECT DISTINCT stream FROM kehu.customer_timeline WHERE customer_id = ANY(%s)) AS streams
    FROM kehu.projections p WHERE p.name = %s"""


@dataclass(frozen=True, slots=True)
class Moment:
    """What counts: the events that had happened by one time, as far as they had been recorded by another.

    Both the same is what the bank knew then. Without `known_by`, what has been recorded since counts as well: that is
    how it was. `upto` is the last position that counts, where a position is asked for.
    """

    happened_by: datetime
    known_by: datetime | None = None
    upto: Position | None = None


class Past:
    """The part of the log that counts, and empty temporary tables for the read models that follow from it."""

    def __init__(
        self,
        conn: "psycopg.Connection[Any]",
        moment: Moment,
        last: Position,
        customers: Sequence[str] = (),
        only: Table | None = None,
    ) -> None:
        """`last` is the last position that counts. Without `customers`, all count. With `only` one table is written."""
        self._conn = conn
        self._moment = moment
        self._last = last
        self._customers = customers
        self._only = only

    @classmethod
    @contextmanager
    def begin(
        cls,
        conn: "psycopg.Connection[Any]",
        moment: Moment,
        projections: Sequence[Projection],
        customers: Sequence[str],
        only: Table | None = None,
    ) -> "Iterator[Past]":
        """One transaction, of which the connection has begun none.

        The tables have their indexes when it ends, unless the rows are few: some customers'. With `only` there is this
        one table, without indexes.
        """
        with conn.transaction():
            conn.execute("SET LOCAL work_mem = '128MB'")
            tables = [only] if only else [table for projection in projections for table in projection.tables]
            for table in tables:
                make_table(conn, SCHEMA, table, keyed=False)
            last = known_position(conn, moment.known_by)
            last = last if moment.upto is None else min(last, moment.upto)
            yield cls(conn, moment, last, customers, only)
            for table in tables if not (only or customers) else ():
                for statement in indexes.statements(SCHEMA, table):
                    conn.execute(statement)

    @property
    def last(self) -> Position:
        """The last position that counts."""
        return self._last

    def events(
        self, wanted: Collection[str], personal: Collection[str], told: Callable[[int], None]
    ) -> Iterator[list[Recorded]]:
        """Batches of what counts, ordered by customer, then by position. Raises CannotFold.

        Personal fields are read of events of the names `personal`, where there is a master key. `told` hears how many
        were read since.
        """
        query = sql.SQL(
            "SELECT originator_id, originator_version, topic, state, notification_id, recorded_at FROM ({}) counted"
            " ORDER BY customer_id, notification_id"
        ).format(self._query(wanted))
        find = partial(data_keys.for_reading(self._conn.info.dsn).known, self._conn)
        with self._conn.cursor("replayed", binary=True, row_factory=tuple_row) as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(AT_ONCE):
                batch = [
                    event
                    for event in decoded(rows, find, personal)
                    if event.meta.occurred_at <= self._moment.happened_by
                ]
                told(len(rows))
                if batch:
                    yield batch

    def _query(self, wanted: Collection[str]) -> sql.Composable:
        """What counts, in any order. There is no index of the log by customer: the timeline names the streams.

        What it has not folded yet is looked through, and the whole log where it names none: the bank's own events, and
        those of customers whom it does not show any more.
        """
        counts = sql.SQL(_COUNTS).format(last=self._last, topics=registry.topics(wanted))
        if not self._customers:
            return counts
        counts += sql.SQL(" AND customer_id = ANY({})").format(list(self._customers))
        if len(self._customers) > FEW:
            return counts
        with self._conn.cursor(row_factory=tuple_row) as cursor:
            given = list(self._customers), CUSTOMER_TIMELINE.name
            folded, streams = cursor.execute(_STREAMS, given).fetchone() or (0, [])
        if not streams:
            return counts
        own = sql.SQL("{} AND originator_id = ANY({}) AND notification_id <= {}").format(counts, streams, folded)
        return sql.SQL("{} UNION ALL {} AND notification_id > {}").format(own, counts, folded)

    def write(self, projection: Projection, changes: Changes) -> None:
        """Write rows that were never written before; counters are added up at the end."""
        for table, changed in changes.items():
            if self._only in (None, table):
                write_new(self._conn, SCHEMA, table, changed, self._moment.happened_by)

    def note(self, table: Table, touched: Iterable[tuple[Key, Position, bool]]) -> None:
        """Keep in TOUCHES which rows of a table events touched, each with whether it did so itself."""
        kinds = [*table.key.values(), "int8", "bool"]
        columns = [*table.key, "event", "itself"]
        target = sql.Identifier(SCHEMA, TOUCHES)
        parts = (sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(k)) for n, k in zip(columns, kinds, strict=True))
        self._conn.execute(
            sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} ({})").format(
                sql.Identifier(TOUCHES), sql.SQL(", ").join(parts)
            )
        )
        with (
            self._conn.cursor() as cursor,
            cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, names(columns))) as writer,
        ):
            writer.set_types([kind.split()[0] for kind in kinds])
            for key, event, itself in touched:
                writer.write_row((*key, event, itself))

    def count(self, projection: Projection, folded: Folded) -> None:
        """Add the counters up. What was folded is a part of the log, and proves nothing."""
        add_up_all(self._conn, SCHEMA, [self._only] if self._only else projection.tables)


def set_aside(conn: "psycopg.Connection[Any]", table: Table) -> None:
    """A replayed table is called BEFORE from now on, to make place for another moment."""
    target, name = sql.Identifier(SCHEMA, table.name), sql.Identifier(BEFORE)
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(target, name))


def known_position(conn: "psycopg.Connection[Any]", known_by: datetime | None) -> Position:
    """The last position that had been recorded by a time; without one, the last there is.

    Times of recording rise with the position, so that it takes a few looks however long the log is.
    """
    with conn.cursor(row_factory=tuple_row) as cursor:
        (high,) = cursor.execute("SELECT n FROM kehu.log_head").fetchone() or (0,)
        low = 0
        while known_by is not None and low < high:
            middle = (low + high + 1) // 2
            query = "SELECT recorded_at <= %s FROM kehu.stored_events WHERE notification_id = %s"
            found = cursor.execute(query, (known_by, middle)).fetchone()
            low, high = (middle, high) if found and found[0] else (low, middle - 1)
    return Position(high)
