"""Few rows of read-model tables: one statement that loads them and one that writes them, made once for each table.

Neither is a COPY, so a pipeline can send all that a batch needs without waiting for each answer. Rows go as one JSON
text, which is made several times faster than arrays of columns, and read by the server nearly as fast.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

import orjson
import psycopg
from psycopg import sql

from infra.postgres.builds import names
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
    columns = [*table.key, *table.columns, "position"]
    rows = [
        {**row, **dict(zip(table.key, key, strict=True)), "position": position}
        for key, position, row in chain(changed.added, changed.replaced, changed.summed)
    ]
    rows += [dict(zip(columns, values, strict=True)) for values in changed.appended]
    if rows:
        conn.execute(_put(schema, table), (at, orjson.dumps(rows, str).decode()))
    if changed.dropped:
        conn.execute(_drop(schema, table), by_column(changed.dropped))


@cache
def _put(schema: str, table: Table) -> bytes:
    columns = [*table.columns, "position"]
    query = sql.SQL(
        "INSERT INTO {target} AS t ({columns}, changed_at)"
        " SELECT {columns}, %s FROM json_populate_recordset(NULL::{target}, %s::json)"
    ).format(target=sql.Identifier(schema, table.name), columns=names([*table.key, *columns]))
    if table.summed:
        sets = sql.SQL(", ").join(
            sql.SQL("{0} = t.{0} + excluded.{0}").format(sql.Identifier(c)) for c in table.columns
        )
        position = sql.SQL("position = greatest(t.position, excluded.position), changed_at = excluded.changed_at")
        query += sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}, {}").format(names(table.key), sets, position)
    elif not table.appended:  # there a key that comes twice is a defect, which nothing must hide
        each = (sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in [*columns, "changed_at"])
        query += sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(names(table.key), sql.SQL(", ").join(each))
    return query.as_bytes(None)


@cache
def _drop(schema: str, table: Table) -> bytes:
    query = sql.SQL("DELETE FROM {} AS t USING unnest({}) AS gone ({key}) WHERE ({}) = ({})")
    mine, theirs = (sql.SQL(", ").join(sql.Identifier(side, column) for column in table.key) for side in ("t", "gone"))
    target = sql.Identifier(schema, table.name)
    return query.format(target, _arrays(table), mine, theirs, key=names(table.key)).as_bytes(None)


def _arrays(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(kind.split()[0])) for kind in table.key.values())
