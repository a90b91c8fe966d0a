"""Few rows of read-model tables: one statement that loads them and one that writes them, made once for each table.

Neither is a COPY, so a pipeline can send all that a batch needs without waiting for each answer. Rows go as one JSON
text, which is made several times faster than arrays of columns, and read by the server nearly as fast.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import orjson
import psycopg
from psycopg import sql

from infra.postgres.builds import key_text, names
from projections.declare import Changed, Key, Table

MOST = 500
"""Rows of a table up to which this is the faster way."""


@cache
def select(schema: str, table: Table) -> bytes:
    """Key and columns of the rows under keys; its parameters are an array for each key column."""
    query = sql.SQL("SELECT {} FROM {} JOIN unnest({}) AS wanted ({key}) USING ({key})")
    columns, target = names([*table.key, *table.columns]), sql.Identifier(schema, table.name)
    return query.format(columns, target, _arrays(table), key=names(table.key)).as_bytes(None)


def by_column(keys: Iterable[Key]) -> Sequence[list[Any]]:
    """The keys as an array for each key column."""
    return [list(column) for column in zip(*keys, strict=True)]


def write(conn: "psycopg.Connection[Any]", schema: str, table: Table, changed: Changed, at: datetime) -> None:
    """Write the rows, changed at this moment."""
    rows = changed.added + changed.replaced + changed.summed
    said = [{**row, **dict(zip(table.key, key, strict=True)), "position": position} for key, position, row in rows]
    said += [dict(zip((*table.key, *table.columns, "position"), row, strict=True)) for row in changed.appended]
    if said:
        conn.execute(_put(schema, table), (at, orjson.dumps(said, str).decode()))
    if changed.dropped:
        keys = by_column(changed.dropped)
        conn.execute(_drop(schema, table), [*keys, at] if table.removed else keys)


@cache
def _put(schema: str, table: Table) -> bytes:
    columns = [*table.columns, "position"]
    query = sql.SQL(
        "INSERT INTO {target} AS t ({columns}, changed_at)"
        " SELECT {columns}, %s FROM json_populate_recordset(NULL::{target}, %s::json)"
    ).format(target=sql.Identifier(schema, table.name), columns=names([*table.key, *columns]))
    if not table.appended:  # there a key that comes twice is a defect, which nothing must hide
        counters = table.columns if table.summed else ()
        sets = (
            sql.SQL("{0} = t.{0} + excluded.{0}" if c in counters else "{0} = excluded.{0}").format(sql.Identifier(c))
            for c in [*columns, "changed_at"]
        )
        query += sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(names(table.key), sql.SQL(", ").join(sets))
    return query.as_bytes(None)


@cache
def _drop(schema: str, table: Table) -> bytes:
    query = sql.SQL("DELETE FROM {} AS t USING unnest({}) AS gone ({key}) WHERE ({}) = ({})")
    mine, theirs = (sql.SQL(", ").join(sql.Identifier(side, column) for column in table.key) for side in ("t", "gone"))
    target, key = sql.Identifier(schema, table.name), names(table.key)
    drop = query.format(target, _arrays(table), mine, theirs, key=key)
    if table.removed:
        place = sql.SQL(", t.branch, t.segment" if table.placed else "")
        left: sql.Composable = sql.SQL("")
        if table.placed:
            left = sql.SQL(
                ", noted AS (INSERT INTO kehu.places (build, table_name, key, left_at, branch, segment)"
                " SELECT {}, {}, {}, (SELECT at FROM now), branch, segment FROM dropped AS t ON CONFLICT DO NOTHING)"
            ).format(schema, table.name, key_text(table))
        drop = sql.SQL(
            "WITH dropped AS ({} RETURNING {}{}), now AS (SELECT %s::timestamptz AS at){}"
            " INSERT INTO {} ({key}, removed_at) SELECT {key}, at FROM dropped, now"
            " ON CONFLICT ({key}) DO UPDATE SET removed_at = excluded.removed_at"
        ).format(drop, mine, place, left, sql.Identifier(schema, table.removed), key=key)
    return drop.as_bytes(None)


def _arrays(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(kind.split()[0])) for kind in table.key.values())
