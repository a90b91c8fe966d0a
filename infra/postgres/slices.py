"""A slice of the customers: their part of the log, ordered by customer, and rows that go straight into new builds.

A slice is one transaction, so a process that is killed leaves nothing behind. The positions of the builds move when all
slices are there.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from math import ceil
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from domain import registry
from domain.values import Position, Recorded
from infra.failpoints import reach
from infra.postgres import data_keys
from infra.postgres.builds import Build
from infra.postgres.copying import add_up_all, write_new
from infra.postgres.data_keys import DataKeys
from infra.postgres.mapper import EVENT_COLUMNS, EventRow, Find, read_rows
from infra.postgres.read_models import count
from projections.completeness import Folded
from projections.declare import CannotFold, Changes, Projection

AT_ONCE = 10_000
"""Rows of the log that are fetched and folded together."""
# Each slice reads the whole log and sorts its part: with one slice for each process that costs less than the sending of
# the rows. There is no index by customer, which every append would have to pay for.
_LOG = """SELECT {columns}
    FROM kehu.stored_events WHERE notification_id <= {upto} AND topic = ANY({topics}) AND {ours}
    ORDER BY customer_id, notification_id"""
MOST = 2_000_000
"""Events of the log for each slice, so that what is sorted at once stays small."""
_OPTIONS = "-c timezone=UTC -c search_path=kehu -c jit=off -c work_mem=128MB"


def slices_of(upto: Position, processes: int) -> int:
    """Into how many slices so many processes cut the log up to a position."""
    return processes * max(1, ceil(upto / (processes * MOST)))


def of_slice(number: int, slices: int) -> sql.Composable:
    """The condition under which an event is of slice `number` of so many."""
    return sql.SQL("(hashtext(customer_id) & 65535) % {} = {}").format(slices, number)


def log_of(names: Collection[str], upto: Position, number: int, slices: int) -> sql.Composed:
    """The query of the events of these names in slice `number` of so many, ordered by customer, then by position."""
    columns, topics = sql.SQL(EVENT_COLUMNS), registry.topics(names)
    return sql.SQL(_LOG).format(columns=columns, upto=upto, topics=topics, ours=of_slice(number, slices))


class Slice:
    """The customers of one slice: their events, and empty builds to write their rows into."""

    def __init__(self, conn: "psycopg.Connection[tuple[Any, ...]]", builds: Sequence[Build], keys: DataKeys) -> None:
        self.conn = conn
        self._keys = keys
        self._builds: Mapping[str, Build] = {build.name: build for build in builds}
        # By the clock of the server, which also says when the builds are filled: no row is newer than its build.
        row = conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        self._begun: datetime = row[0]

    @classmethod
    @contextmanager
    def begin(cls, conninfo: str, builds: Sequence[Build]) -> "Iterator[Slice]":
        """What is written is there when the block ends without an error."""
        with psycopg.connect(conninfo, application_name="kehu-fill", options=_OPTIONS, row_factory=tuple_row) as conn:
            yield cls(conn, builds, data_keys.of(conninfo))
            reach("filled", conn)

    def events(
        self,
        names: Collection[str],
        personal: Collection[str],
        upto: Position,
        number: int,
        slices: int,
        told: Callable[[int], None],
    ) -> Iterator[list[Recorded]]:
        """The events of slice `number` of so many, in batches, ordered by customer. Raises CannotFold.

        Personal fields are read of events of the names `personal`. `told` hears how many were read since.
        """
        with self.conn.cursor("by_customer", binary=True) as cursor:
            cursor.execute(log_of(names, upto, number, slices))
            while rows := cursor.fetchmany(AT_ONCE):
                yield decoded(rows, partial(self._keys.known, self.conn), personal)
                told(len(rows))

    def write(self, projection: Projection, changes: Changes) -> None:
        """Write rows that were never written before; counters are added up when the slice is counted."""
        schema = self._builds[projection.name].schema
        for table, changed in changes.items():
            write_new(self.conn, schema, table, changed, self._begun)

    def count(self, projection: Projection, folded: Folded) -> None:
        """Add the counters up and keep what was folded. Another slice that does so at the same time is waited for."""
        build = self._builds[projection.name]
        add_up_all(self.conn, build.schema, projection.tables)
        count(self.conn, [(build, folded)])


def decoded(rows: Sequence[EventRow], find: Find, personal: Collection[str]) -> list[Recorded]:
    """The events of rows of the log. Raises CannotFold for one that this release cannot read."""
    try:
        return read_rows(rows, find, personal)
    except Exception:
        for row in rows:
            try:
                read_rows([row], find, personal)
            except Exception as error:
                raise CannotFold(f"the log at position {row[4]} ({row[2]}): {type(error).__name__}: {error}") from error
        raise
