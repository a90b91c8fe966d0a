"""Builds that are filled in one go: the log ordered by customer, and rows that go straight into their tables.

A slice of the customers is one transaction, so a process that is killed leaves nothing behind. The positions of the
builds move when all slices are there.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from domain import registry
from domain.values import Position, Recorded
from infra.failpoints import reach
from infra.postgres.builds import Build
from infra.postgres.mapper import to_recorded
from infra.postgres.read_models import copy_rows, count
from projections.completeness import Folded
from projections.declare import Changes, Projection

AT_ONCE = 10_000
"""Rows of the log that are fetched together."""
_LOG = """SELECT originator_id, originator_version, topic, state, notification_id, recorded_at
    FROM kehu.stored_events
    WHERE notification_id <= {upto} AND topic = ANY({topics}) AND (hashtext(customer_id) & 65535) % {slices} = {number}
    ORDER BY customer_id, notification_id"""
_OPTIONS = "-c timezone=UTC -c search_path=kehu -c work_mem=128MB"


class Slice:
    """The customers of one slice: their events, and empty builds to write their rows into."""

    def __init__(self, conninfo: str, builds: Sequence[Build], conn: "psycopg.Connection[Any]") -> None:
        self._conninfo = conninfo
        self._builds: Mapping[str, Build] = {build.name: build for build in builds}
        self._conn = conn
        self._begun = datetime.now(UTC)

    @classmethod
    @contextmanager
    def begin(cls, conninfo: str, builds: Sequence[Build]) -> "Iterator[Slice]":
        """What is written is there when the block ends without an error."""
        with psycopg.connect(conninfo, application_name="kehu-fill", options=_OPTIONS) as conn:
            yield cls(conninfo, builds, conn)
            reach("filled", conn)

    def events(
        self, names: Collection[str], upto: Position, number: int, slices: int, told: Callable[[int], None]
    ) -> Iterator[Recorded]:
        """The events of slice `number` of so many, ordered by customer; `told` hears how many were read since."""
        topics = registry.topics(names)
        query = sql.SQL(_LOG).format(upto=upto, topics=topics, slices=slices, number=number)
        with (
            psycopg.connect(self._conninfo, options=_OPTIONS, row_factory=tuple_row) as conn,
            conn.cursor("by_customer", binary=True) as cursor,
        ):
            cursor.execute(query)
            while rows := cursor.fetchmany(AT_ONCE):
                for row in rows:
                    yield to_recorded(*row)
                told(len(rows))

    def write(self, projection: Projection, changes: Changes) -> None:
        """Write rows that were never written before."""
        build = self._builds[projection.name]
        for table, changed in changes.items():
            copy_rows(self._conn, sql.Identifier(build.schema, table.name), table, changed.added, self._begun)

    def count(self, projection: Projection, folded: Folded) -> None:
        """Keep what was folded. Another slice that counts at the same time is waited for."""
        count(self._conn, self._builds[projection.name], folded)
