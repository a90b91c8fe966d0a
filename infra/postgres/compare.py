"""Two builds of a projection compared in one snapshot: rows, digests, and what is missing, added or changed."""

from collections.abc import Iterator, Mapping
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
from projections.declare import Projection, Table

EXAMPLES = 5
"""Differences that are kept of each table and kind."""
KINDS = ("missing", "added", "changed")
Conn = psycopg.Connection[dict[str, Any]]


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
    timed = projection.sweep is not None and table is projection.tables[0]
    columns = [*table.columns, "position"]
    if live.version != candidate.version:
        there = _columns(conn, live, table)
        if not {*table.key} <= there:
            return _all_new(conn, table, candidate)
        columns = [name for name in columns if name in there]
    digest = _timed_digest if timed and live.version == candidate.version else _digest
    before, after = (digest(conn, projection, table, build, columns, now) for build in (live, candidate))
    compared = Compared(table.name, (before[0], after[0]), (before[1], after[1]))
    if compared.digests[0] != compared.digests[1]:
        for one in _differences(conn, projection, table, live, candidate, columns, now if timed else None):
            compared.counts[one.kind] += 1
            if compared.counts[one.kind] <= EXAMPLES:
                compared.examples.append(one)
    return compared


def _columns(conn: Conn, build: Build, table: Table) -> set[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    return {row["column_name"] for row in conn.execute(query, (build.schema, table.name))}


def _all_new(conn: Conn, table: Table, candidate: Build) -> Compared:
    query = sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(candidate.schema, table.name))
    row = conn.execute(query).fetchone()
    n = row["n"] if row else 0
    return Compared(table.name, (0, n), ("", ""), {"missing": 0, "added": n, "changed": 0})


def _digest(
    conn: Conn, projection: Projection, table: Table, build: Build, columns: list[str], now: datetime
) -> tuple[int, str]:
    query = sql.SQL(
        "SELECT count(*) AS n, coalesce(sum(hashtextextended(ROW({})::text, 0)::numeric), 0) AS digest FROM {}"
    ).format(names([*table.key, *columns]), sql.Identifier(build.schema, table.name))
    row = conn.execute(query).fetchone()
    assert row is not None
    return row["n"], f"{int(row['digest']) % 2**64:016x}"


def _timed_digest(
    conn: Conn, projection: Projection, table: Table, build: Build, columns: list[str], now: datetime
) -> tuple[int, str]:
    assert projection.sweep is not None
    n, total = 0, 0
    query = sql.SQL("SELECT {} FROM {}").format(names([*table.key, *columns]), sql.Identifier(build.schema, table.name))
    with conn.cursor("rows") as cursor:
        for row in cursor.execute(query):
            swept = orjson.dumps(projection.sweep(row, now), default=str, option=orjson.OPT_SORT_KEYS)
            total += int.from_bytes(blake2b(swept, digest_size=8).digest(), "big")
            n += 1
    return n, f"{total % 2**64:016x}"


def _differences(
    conn: Conn,
    projection: Projection,
    table: Table,
    live: Build,
    candidate: Build,
    columns: list[str],
    now: datetime | None,
) -> Iterator[Difference]:
    """Rows that differ, in no order; with `now`, of rows that change with time only those that differ then."""
    sides = sql.SQL(", ").join(
        sql.SQL("{}.{} AS {}").format(sql.Identifier(side), sql.Identifier(name), sql.Identifier(f"{side}_{name}"))
        for side in ("b", "a")
        for name in columns
    )
    rows = {
        side: sql.SQL("ROW({})").format(
            sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.Identifier(side), sql.Identifier(name)) for name in columns)
        )
        for side in ("b", "a")
    }
    query = sql.SQL(
        "SELECT {key}, {sides}, b.tableoid IS NULL AS added, a.tableoid IS NULL AS missing"
        " FROM {live} b FULL JOIN {candidate} a USING ({key})"
        " WHERE b.tableoid IS NULL OR a.tableoid IS NULL OR {before} IS DISTINCT FROM {after}"
    ).format(
        key=names(table.key),
        sides=sides,
        live=sql.Identifier(live.schema, table.name),
        candidate=sql.Identifier(candidate.schema, table.name),
        before=rows["b"],
        after=rows["a"],
    )
    with conn.cursor("differences") as cursor:
        for row in cursor.execute(query):
            key = {name: row[name] for name in table.key}
            before, after = ({name: row[f"{side}_{name}"] for name in columns} for side in ("b", "a"))
            if row["added"] or row["missing"]:
                kind, sides_there = ("added", (None, after)) if row["added"] else ("missing", (before, None))
                yield Difference(table.name, kind, key, *sides_there)
                continue
            if now is not None and projection.sweep is not None and live.version == candidate.version:
                before, after = dict(projection.sweep(before, now)), dict(projection.sweep(after, now))
            changed = [name for name in columns if before[name] != after[name]]
            if changed:
                told = ({name: side[name] for name in changed} for side in (before, after))
                yield Difference(table.name, "changed", key, *told)
