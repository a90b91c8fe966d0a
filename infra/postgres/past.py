"""The log up to a moment: what counts then, of all customers or of some, whole or in parts that processes share."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from domain import registry
from domain.values import Position, Recorded
from infra.postgres import data_keys
from infra.postgres.mapper import EVENT_COLUMNS
from infra.postgres.slices import AT_ONCE, decoded, of_slice
from projections.customer_timeline import CUSTOMER_TIMELINE

_COUNTS = """SELECT {columns}, customer_id
    FROM kehu.stored_events WHERE notification_id <= {last} AND topic = ANY({topics})"""
_COLUMNS = sql.SQL(EVENT_COLUMNS)
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

    Both the same is what the bank knew then of what had happened; where all that was known then counts, also what was
    dated ahead, `happened_by` is without end. Without `known_by`, what has been recorded since counts as well: that is
    how it was. `upto` is the last position that counts, where a position is asked for.
    """

    happened_by: datetime
    known_by: datetime | None = None
    upto: Position | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """The part of the log that counts at a moment."""

    moment: Moment
    last: Position
    """The last position that counts."""
    customers: Sequence[str] = ()
    """Whose events count; without, those of all do."""
    number: int = 0
    slices: int = 1
    """All customers are in so many slices, of which this is one."""

    @classmethod
    def of(cls, conn: "psycopg.Connection[Any]", moment: Moment, customers: Sequence[str] = ()) -> "Past":
        """As the log stands."""
        last = known_position(conn, moment.known_by)
        return cls(moment, last if moment.upto is None else min(last, moment.upto), customers)

    def events(
        self,
        conn: "psycopg.Connection[Any]",
        wanted: Collection[str],
        personal: Collection[str],
        told: Callable[[int], None],
    ) -> Iterator[list[Recorded]]:
        """Batches of what counts, ordered by customer, then by position; in a transaction. Raises CannotFold.

        Personal fields are read of events of the names `personal`, where there is a master key. `told` hears how many
        were read since.
        """
        query = sql.SQL("SELECT {} FROM ({}) counted ORDER BY customer_id, notification_id").format(
            _COLUMNS, self._query(conn, wanted)
        )
        find = partial(data_keys.for_reading(conn.info.dsn).known, conn)
        conn.execute("SET LOCAL work_mem = '128MB'")
        with conn.cursor("replayed", binary=True, row_factory=tuple_row) as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(AT_ONCE):
                batch = [
                    event
                    for event in decoded(rows, find, personal)
                    if event.meta.occurred_at <= self.moment.happened_by
                ]
                told(len(rows))
                if batch:
                    yield batch

    def _query(self, conn: "psycopg.Connection[Any]", wanted: Collection[str]) -> sql.Composable:
        """What counts, in any order. There is no index of the log by customer: the timeline names the streams.

        What it has not folded yet is looked through, and the whole log where it names none: the bank's own events, and
        those of customers whom it does not show any more.
        """
        counts = sql.SQL(_COUNTS).format(columns=_COLUMNS, last=self.last, topics=registry.topics(wanted))
        if self.slices > 1:
            counts += sql.SQL(" AND ") + of_slice(self.number, self.slices)
        if not self.customers:
            return counts
        counts += sql.SQL(" AND customer_id = ANY({})").format(list(self.customers))
        if len(self.customers) > FEW:
            return counts
        with conn.cursor(row_factory=tuple_row) as cursor:
            given = list(self.customers), CUSTOMER_TIMELINE.name
            folded, streams = cursor.execute(_STREAMS, given).fetchone() or (0, [])
        if not streams:
            return counts
        own = sql.SQL("{} AND originator_id = ANY({}) AND notification_id <= {}").format(counts, streams, folded)
        return sql.SQL("{} UNION ALL {} AND notification_id > {}").format(own, counts, folded)


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
