"""Read-model tables and positions of projections in PostgreSQL.

Each version of a projection has a schema of its own (`satisfaction_v1`); views of the table's name in the schema `kehu`
show the live version, so that a reader needs no version.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from domain.ports import Fenced
from domain.values import Position
from infra.failpoints import reach
from infra.postgres.connection import Connection
from projections.declare import Changes, Key, Projection, Row, Table


def schema_of(projection: Projection) -> str:
    """The schema that holds this version of a projection."""
    return f"{projection.name}_v{projection.version}".replace("-", "_")


class PostgresReadModels:
    """Rows and positions of projections over one connection in autocommit mode, used by one thread."""

    def __init__(self, conninfo: str) -> None:
        self._connection = Connection(conninfo, "kehu-projector", dict_row, "-c search_path=kehu")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def create(self, projection: Projection) -> None:
        """Make schema, tables, views and position of a projection if they are missing."""
        schema = sql.Identifier(schema_of(projection))
        with self._connection.use() as conn, conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(hashtext('kehu-read-models'))")
            conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            for table in projection.tables:
                name = sql.Identifier(schema_of(projection), table.name)
                columns = [*table.key.items(), *table.columns.items(), ("position", "bigint NOT NULL")]
                conn.execute(
                    sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))").format(
                        name,
                        sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL(t)) for c, t in columns),
                        _names(table.key),
                    )
                )
                for index in table.indexes:
                    conn.execute(
                        sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                            sql.Identifier("_".join((table.name, *index, "idx"))), name, _names(index)
                        )
                    )
                conn.execute(
                    sql.SQL("CREATE OR REPLACE VIEW kehu.{} AS SELECT * FROM {}").format(
                        sql.Identifier(table.name), name
                    )
                )
            conn.execute(
                "INSERT INTO projections (name, version, position) VALUES (%s, %s, 0) ON CONFLICT DO NOTHING",
                (projection.name, projection.version),
            )

    def reset(self, projection: Projection) -> None:
        """Empty the tables and go back to position 0, in one transaction."""
        with self._connection.use() as conn, conn.transaction():
            conn.execute(
                "UPDATE projections SET position = 0, error = NULL WHERE name = %s AND version = %s",
                (projection.name, projection.version),
            )
            for table in projection.tables:
                conn.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(schema_of(projection), table.name)))

    def position(self, projection: Projection) -> Position:
        query = "SELECT position FROM projections WHERE name = %s AND version = %s"
        with self._connection.use() as conn:
            row = conn.execute(query, (projection.name, projection.version)).fetchone()
        return Position(row["position"] if row else 0)

    def load(self, projection: Projection, table: Table, keys: Sequence[Key]) -> dict[Key, Row]:
        columns = list(zip(*keys, strict=True))
        query = sql.SQL("SELECT {} FROM {} JOIN unnest({}) AS wanted ({}) USING ({})").format(
            _names({**table.key, **table.columns}),
            sql.Identifier(schema_of(projection), table.name),
            sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(t.split()[0])) for t in table.key.values()),
            _names(table.key),
            _names(table.key),
        )
        with self._connection.use() as conn:
            return _by_key(table, conn.execute(query, [list(c) for c in columns]).fetchall())

    def due(self, projection: Projection, now: datetime, limit: int) -> dict[Key, Row]:
        table = projection.tables[0]
        query = sql.SQL("SELECT {} FROM {} WHERE next_change_at <= %s ORDER BY next_change_at LIMIT %s").format(
            _names({**table.key, **table.columns}), sql.Identifier(schema_of(projection), table.name)
        )
        with self._connection.use() as conn:
            return _by_key(table, conn.execute(query, (now, limit)).fetchall())

    def save(self, projection: Projection, expected: Position, position: Position, changes: Changes) -> None:
        with self._connection.use() as conn, conn.transaction():
            moved = conn.execute(
                "UPDATE projections SET position = %s, updated_at = clock_timestamp(), error = NULL"
                " WHERE name = %s AND version = %s AND position = %s",
                (position, projection.name, projection.version, expected),
            )
            if moved.rowcount != 1:
                raise Fenced(f"projection {projection.name} is not at position {expected}")
            reach("saving", conn)
            for table, rows in changes.items():
                _write(conn, projection, table, rows)

    def stopped(self, projection: Projection, error: str | None) -> None:
        query = "UPDATE projections SET error = %s WHERE name = %s AND version = %s"
        with self._connection.use() as conn:
            conn.execute(query, (error, projection.name, projection.version))

    def digest(self, projection: Projection) -> str:
        """A digest over all rows of all tables, for comparing two ways to the same read model."""
        parts = []
        with self._connection.use() as conn, conn.transaction():
            for table in projection.tables:
                query = sql.SQL("SELECT coalesce(md5(string_agg(md5(t::text), '' ORDER BY {})), '') AS d FROM {} t")
                name = sql.Identifier(schema_of(projection), table.name)
                row = conn.execute(query.format(_names(table.key), name)).fetchone()
                parts.append(row["d"] if row else "")
        return ":".join(parts)


def _write(
    conn: "psycopg.Connection[Any]",
    projection: Projection,
    table: Table,
    rows: Mapping[Key, tuple[Position, Row | None]],
) -> None:
    target = sql.Identifier(schema_of(projection), table.name)
    incoming = sql.Identifier(f"incoming_{schema_of(projection)}_{table.name}"[:63])
    kept = [(key, position, row) for key, (position, row) in rows.items() if row is not None]
    dropped = [key for key, (_, row) in rows.items() if row is None]
    conn.execute(sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(incoming, target))
    all_columns = [*table.key, *table.columns, "position"]
    with conn.cursor() as cursor:
        if kept:
            json_columns = {name for name, kind in table.columns.items() if kind.startswith("jsonb")}
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(incoming, _names(all_columns))
            with cursor.copy(copy) as writer:
                for key, position, row in kept:
                    values = [
                        Jsonb(row[c]) if c in json_columns and row[c] is not None else row[c] for c in table.columns
                    ]
                    writer.write_row([*key, *values, position])
            cursor.execute(
                sql.SQL("INSERT INTO {} ({cols}) SELECT {cols} FROM {} ON CONFLICT ({}) DO UPDATE SET {}").format(
                    target,
                    incoming,
                    _names(table.key),
                    sql.SQL(", ").join(
                        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in [*table.columns, "position"]
                    ),
                    cols=_names(all_columns),
                )
            )
        if dropped:
            condition = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(c)) for c in table.key)
            cursor.executemany(sql.SQL("DELETE FROM {} WHERE {}").format(target, condition), dropped)


def _names(columns: "Mapping[str, str] | Sequence[str]") -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _by_key(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[Key, Row]:
    return {tuple(row[c] for c in table.key): {c: row[c] for c in table.columns} for row in rows}
