"""Answers of read models: from one snapshot, of the version that the questions know, and each says how fresh it is."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg

from domain.values import Position
from infra.errors import KehuError
from infra.postgres import ops
from projections.declare import Projection

Row = dict[str, Any]
T = TypeVar("T")
Connection = psycopg.Connection[Row]

_FRESH = """SELECT p.name AS projection, p.position, folded.recorded_at, head.n - p.position AS behind,
        greatest(coalesce(extract(epoch FROM clock_timestamp() - waiting.recorded_at), 0), 0)::float8 AS lag_seconds,
        p.version
    FROM kehu.projections p CROSS JOIN kehu.log_head head
    LEFT JOIN kehu.stored_events folded ON folded.notification_id = p.position
    LEFT JOIN kehu.stored_events waiting ON waiting.notification_id = p.position + 1
    WHERE p.name = ANY(%(names)s) ORDER BY array_position(%(names)s::text[], p.name)"""


_AS_OF = """SELECT (SELECT recorded_at FROM kehu.stored_events WHERE notification_id = %(position)s) AS recorded_at"""


class OtherVersion(KehuError):
    """A read model is of another version than this release asks. Run `kehu rebuild NAME --switch`, or ask with the
    release that made it.
    """


@dataclass(frozen=True, slots=True)
class Freshness:
    """How much of the log a read model shows: everything up to a position, and what is missing after it."""

    projection: str
    position: int
    recorded_at: datetime | None
    """When the event at the position was stored; None before the first one."""
    behind: int
    """Events in the log that are not shown."""
    lag_seconds: float
    """For how long the oldest of these has been in the log; 0 when there is none."""


class Answer:
    """What read models hold at one moment; used inside of one transaction. Rows of the connection are dictionaries."""

    def __init__(self, conn: Connection, *projections: Projection, as_of: Position | None = None) -> None:
        """`as_of` is the last position that counts where `infra.postgres.replay` made the read models.

        Else the live builds are asked. Raises OtherVersion when one has other columns than the questions ask for.
        """
        self._conn = conn
        # A temporary table hides the view of its name. PostgreSQL 18 tells when it is set already.
        if conn.info.parameter_status("search_path") != "kehu":
            conn.execute("SET search_path TO kehu")
        versions = {projection.name: projection.version for projection in projections}
        self.fresh = []
        if as_of is not None:
            (row,) = self.rows(_AS_OF, {"position": as_of})
            self.fresh += [Freshness(name, as_of, row["recorded_at"], 0, 0.0) for name in versions]
            return
        for row in self.rows(_FRESH, {"names": list(versions)}):
            version, asked = row.pop("version"), versions[row["projection"]]
            if version != asked:
                raise OtherVersion(f"{row['projection']} is of version {version}, asked is version {asked}")
            self.fresh.append(Freshness(**row))

    def ask(self, question: Callable[[Connection], T]) -> T:
        """What another question finds in the same snapshot."""
        return question(self._conn)

    def rows(self, statement: str, values: Mapping[str, object] | None = None) -> list[Row]:
        """All rows of a statement that gives few."""
        return self._conn.execute(statement.encode(), values).fetchall()

    def stream(self, statement: str, values: Mapping[str, object] | None = None) -> Iterator[Row]:
        """The rows of a statement as they are read, however many."""
        return ops.streamed(self._conn, statement, values)

    def page(self, statement: str, values: Mapping[str, object], limit: int) -> Iterator[Row]:
        """The rows of a statement that ends with `LIMIT %(limit)s`: so many, or with 0 all of them as they are read."""
        given = {**values, "limit": limit or None}
        return iter(self.rows(statement, given)) if 0 < limit <= ops.AT_ONCE else self.stream(statement, given)
