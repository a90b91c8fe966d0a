"""Two builds of a projection compared in one snapshot: rows, digests, and what is missing, added or changed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

import orjson
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from infra.postgres.builds import Build, names
from infra.postgres.digests import digest
from projections.declare import Projection, Row, Table

EXAMPLES = 5
"""Differences that are kept of each table and kind."""
KINDS = ("missing", "added", "changed")
Conn = psycopg.Connection[dict[str, Any]]
Swept = Callable[[Row], Row]
"""What a row is at a moment, where time changes it."""


@dataclass(slots=True)
class Difference:
    """One row that differs: `before` and `after` hold the columns that do; None where there is no row."""

    table: str
    kind: str
    key: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(slots=True)
class Compared:
    """A table of both builds. `missing` are rows that only the former one has."""

    table: str
    rows: tuple[int, int]
    digests: tuple[str, str]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: list[Difference] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether no row differs."""
        return not any(self.counts.values())


@contextmanager
def snapshot(conninfo: str) -> Iterator[Conn]:
    """A connection that sees the database as it is when the block begins, however long it takes."""
    options = "-c timezone=UTC -c default_transaction_isolation=repeatable\\ read"
    with psycopg.connect(conninfo, row_factory=dict_row, application_name="kehu-compare", options=options) as conn:
        conn.execute("SELECT 1")  # the snapshot is that of the first statement
        yield conn


def compare(conn: Conn, projection: Projection, live: Build, candidate: Build, now: datetime) -> list[Compared]:
    """All tables of the projection. Rows that change as time passes are compared as they are at `now`.

    Which rows are selected was decided when each was swept last, and follows from what is compared.
    """
    follows = projection.selection.table if projection.selection else None
    return [_table(conn, projection, one, live, candidate, now) for one in projection.tables if one is not follows]


def _table(conn: Conn, projection: Projection, table: Table, live: Build, candidate: Build, now: datetime) -> Compared:
    columns = [*table.columns, "position"]
    if live.version != candidate.version:
        there = _columns(conn, live, table)
        if not {*table.key} <= there:
            return _all_new(conn, table, candidate)
        columns = [name for name in columns if name in there]
    one, other = (sql.Identifier(build.schema, table.name) for build in (live, candidate))
    swept = swept_at(projection, table, now) if live.version == candidate.version else None
    before, after = (digest_at(conn, table, side, columns, swept) for side in (one, other))
    compared = Compared(table.name, (before[0], after[0]), (before[1], after[1]))
    if compared.digests[0] != compared.digests[1]:
        for found in differences(conn, table, one, other, columns, swept):
            compared.counts[found.kind] += 1
            if compared.counts[found.kind] <= EXAMPLES:
                compared.examples.append(found)
    return compared


def swept_at(projection: Projection, table: Table, now: datetime) -> Swept | None:
    """What rows of a table are at `now`; None where time does not change them."""
    sweep = projection.sweep
    return (lambda row: sweep(row, now)) if sweep is not None and table is projection.tables[0] else None


def _columns(conn: Conn, build: Build, table: Table) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    return {row["column_name"] for row in conn.execute(query, (build.schema, table.name))}


def _all_new(conn: Conn, table: Table, candidate: Build) -> Compared:
    query = sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(candidate.schema, table.name))
    row = conn.execute(query).fetchone()
    n = row["n"] if row else 0
    return Compared(table.name, (0, n), ("", ""), {"missing": 0, "added": n, "changed": 0})


def digest_at(
    conn: Conn, table: Table, target: sql.Identifier, columns: Sequence[str], swept: Swept | None
) -> tuple[int, str]:
    """How many rows there are, and a digest of them: as they lie there, or with `swept` as they are at its moment."""
    if swept is None:
        return digest(conn, target, [*table.key, *columns])
    n, total = 0, 0
    query = sql.SQL("SELECT {} FROM {}").format(names([*table.key, *columns]), target)
    with conn.cursor("rows") as cursor:
        for row in cursor.execute(query):
            said = orjson.dumps(swept(row), default=str, option=orjson.OPT_SORT_KEYS)
            total += int.from_bytes(blake2b(said, digest_size=8).digest(), "big")
            n += 1
    return n, f"{total % 2**64:016x}"


def differences(
    conn: Conn,
    table: Table,
    one: sql.Identifier,
    other: sql.Identifier,
    columns: Sequence[str],
    swept: Swept | None = None,
    *,
    ordered: bool = False,
) -> Iterator[Difference]:
    """Rows that differ between two tables of the same keys, in no order or in that of the keys.

    With `swept`, of rows that change with time only those that differ at its moment.
    """
    sides = sql.SQL(", ").join(
        sql.SQL("{}.{} AS {}").format(sql.Identifier(side), sql.Identifier(name), sql.Identifier(f"{side}_{name}"))
        for side in ("b", "a")
        for name in columns
    )
    query = sql.SQL("SELECT {}, {}, b.tableoid IS NULL AS added, a.tableoid IS NULL AS missing {}{}").format(
        names(table.key),
        sides,
        _unequal(table, one, other, columns),
        sql.SQL(" ORDER BY {}").format(names(table.key)) if ordered else sql.SQL(""),
    )
    with conn.cursor("differences") as cursor:
        for row in cursor.execute(query):
            key = {name: row[name] for name in table.key}
            before, after = ({name: row[f"{side}_{name}"] for name in columns} for side in ("b", "a"))
            if row["added"] or row["missing"]:
                kind, sides_there = ("added", (None, after)) if row["added"] else ("missing", (before, None))
                yield Difference(table.name, kind, key, *sides_there)
                continue
            if swept is not None:
                before, after = dict(swept(before)), dict(swept(after))
            changed = [name for name in columns if before[name] != after[name]]
            if changed:
                told = ({name: side[name] for name in changed} for side in (before, after))
                yield Difference(table.name, "changed", key, *told)


def count_differences(
    conn: Conn, table: Table, one: sql.Identifier, other: sql.Identifier, columns: Sequence[str]
) -> dict[str, int]:
    """How many rows differ, of each kind."""
    query = sql.SQL(
        "SELECT count(*) FILTER (WHERE a.tableoid IS NULL) AS missing,"
        " count(*) FILTER (WHERE b.tableoid IS NULL) AS added, count(*) AS changed {}"
    ).format(_unequal(table, one, other, columns))
    row = conn.execute(query).fetchone()
    assert row is not None
    return {**row, "changed": row["changed"] - row["missing"] - row["added"]}


def _unequal(table: Table, one: sql.Identifier, other: sql.Identifier, columns: Sequence[str]) -> sql.Composed:
    """`b` is the one before, `a` the one after."""
    rows = (
        sql.SQL("ROW({})").format(
            sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.Identifier(side), sql.Identifier(name)) for name in columns)
        )
        for side in ("b", "a")
    )
    return sql.SQL(
        "FROM {} b FULL JOIN {} a USING ({}) WHERE b.tableoid IS NULL OR a.tableoid IS NULL OR {} IS DISTINCT FROM {}"
    ).format(one, other, names(table.key), *rows)
