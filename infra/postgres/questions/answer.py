"""Answers of read models: from one snapshot, of the version that the questions know, and each says how fresh it is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import orjson
import psycopg

from domain.values import Position
from infra.errors import KehuError
from infra.postgres.querying import AT_ONCE, streamed
from projections.declare import Projection, Table

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


Held = Mapping[Table, Sequence[Row]]
"""Rows of tables, all about the same customers."""
_READ: Mapping[str, Callable[[Any], Any]] = {
    "timestamptz": datetime.fromisoformat,
    "date": date.fromisoformat,
    "numeric": lambda value: Decimal(str(value)),
}
"""What JSON has no type for."""


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
    """What read models hold at one moment; used inside of one transaction.

    Rows of the connection are dictionaries, and its search_path is `kehu`, as `infra.cli.servers.connected` has it: a
    temporary table hides the view of its name.
    """

    def __init__(self, conn: Connection, *projections: Projection, as_of: Position | None = None) -> None:
        """`as_of` is the last position that counts where `infra.replay` made the read models.

        Else the live builds are asked. Raises OtherVersion when one has other columns than the questions ask for.
        """
        self._conn = conn
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

    def about(self, ids: Sequence[str], wanted: Mapping[Table, str]) -> "Held":
        """Rows of several tables that are about these customers and meet a condition, in one round trip.

        For what gives few rows each. Where a table is asked alone, `rows` is as good.
        """
        parts = (
            f"SELECT {number} AS part, row_to_json(t)::text AS said FROM {table.name} t"  # noqa: S608 (our own names)
            f" WHERE customer_id = ANY(%(ids)s) AND {condition}"
            for number, (table, condition) in enumerate(wanted.items())
        )
        held: dict[Table, list[Row]] = {table: [] for table in wanted}
        tables = list(wanted)
        for row in self.rows(" UNION ALL ".join(parts), {"ids": list(ids)}):
            table = tables[row["part"]]
            held[table].append(_typed(table, orjson.loads(row["said"])))
        return held

    def stream(self, statement: str, values: Mapping[str, object] | None = None) -> Iterator[Row]:
        """The rows of a statement as they are read, however many."""
        return streamed(self._conn, statement, values)

    def page(self, statement: str, values: Mapping[str, object], limit: int) -> Iterator[Row]:
        """The rows of a statement that ends with `LIMIT %(limit)s`: so many, or with 0 all of them as they are read."""
        given = {**values, "limit": limit or None}
        return iter(self.rows(statement, given)) if 0 < limit <= AT_ONCE else self.stream(statement, given)


def _typed(table: Table, row: Row) -> Row:
    """A row that came as JSON, with the values that psycopg would give."""
    for name, read in _readers(table):
        if row[name] is not None:
            row[name] = read(row[name])
    return row


@cache
def _readers(table: Table) -> Sequence[tuple[str, Callable[[Any], Any]]]:
    kinds = {**table.key, **table.columns, "changed_at": "timestamptz"}
    return [(name, _READ[said]) for name, kind in kinds.items() if (said := kind.partition("(")[0]) in _READ]
