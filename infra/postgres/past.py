"""The log up to a moment, and temporary tables of one connection for the read models that follow from it.

Nothing that others see is written. The tables have the names of the read models and hide them from this connection, so
that the same questions ask them; they are gone when it ends.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from domain import registry
from domain.values import Position, Recorded
from infra.postgres import data_keys, indexes
from infra.postgres.builds import make_table
from infra.postgres.read_models import add_up_all, write_new
from infra.postgres.slices import AT_ONCE, decoded
from projections.completeness import Folded
from projections.declare import Changes, Projection

SCHEMA = "pg_temp"


@dataclass(frozen=True, slots=True)
class Moment:
    """What counts: the events that had happened by one time, as far as they had been recorded by another.

    Both the same is what the bank knew then. Without `known_by`, what has been recorded since counts as well: that is
    how it was.
    """

    happened_by: datetime
    known_by: datetime | None = None


class Past:
    """The part of the log that counts, and empty temporary tables for the read models that follow from it."""

    def __init__(
        self, conn: "psycopg.Connection[Any]", moment: Moment, last: Position, customers: Sequence[str] = ()
    ) -> None:
        """`last` is the last position that counts. Without `customers`, all count."""
        self._conn = conn
        self._moment = moment
        self._last = last
        self._customers = customers

    @classmethod
    @contextmanager
    def begin(
        cls,
        conn: "psycopg.Connection[Any]",
        moment: Moment,
        projections: Sequence[Projection],
        customers: Sequence[str],
    ) -> "Iterator[Past]":
        """One transaction, of which the connection has begun none. The tables have their indexes when it ends."""
        with conn.transaction():
            conn.execute("SET LOCAL work_mem = '128MB'")
            tables = [table for projection in projections for table in projection.tables]
            for table in tables:
                make_table(conn, SCHEMA, table, keyed=False)
            yield cls(conn, moment, known_position(conn, moment.known_by), customers)
            for table in tables:
                for statement in indexes.statements(SCHEMA, table):
                    conn.execute(statement)

    @property
    def last(self) -> Position:
        """The last position that counts."""
        return self._last

    def events(
        self, names: Collection[str], personal: Collection[str], told: Callable[[int], None]
    ) -> Iterator[list[Recorded]]:
        """Batches of what counts, ordered by customer, then by position. Raises CannotFold.

        Personal fields are read of events of the names `personal`, where there is a master key. `told` hears how many
        were read since.
        """
        whose = sql.SQL("AND customer_id = ANY({})").format(list(self._customers)) if self._customers else sql.SQL("")
        query = sql.SQL(
            "SELECT originator_id, originator_version, topic, state, notification_id, recorded_at"
            " FROM kehu.stored_events WHERE notification_id <= {last} AND topic = ANY({topics}) {whose}"
            " ORDER BY customer_id, notification_id"
        ).format(last=self._last, topics=registry.topics(names), whose=whose)
        keys = data_keys.for_reading(self._conn.info.dsn)

        def find(customers: Collection[str]) -> data_keys.Keys:
            return keys.known(self._conn, customers)

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

    def write(self, projection: Projection, changes: Changes) -> None:
        """Write rows that were never written before; counters are added up at the end."""
        for table, changed in changes.items():
            write_new(self._conn, SCHEMA, table, changed, self._moment.happened_by)

    def count(self, projection: Projection, folded: Folded) -> None:
        """Add the counters up. What was folded is a part of the log, and proves nothing."""
        add_up_all(self._conn, SCHEMA, projection.tables)


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
