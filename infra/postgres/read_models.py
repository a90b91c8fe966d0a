"""Read-model tables and positions of projections in PostgreSQL.

Each build of a projection has a schema of its own (`infra.postgres.builds`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic, sleep
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from domain.ports import Fenced
from domain.values import Position
from infra.errors import KehuError
from infra.failpoints import reach
from infra.postgres.builds import COLUMNS, Build, Builds, names
from infra.postgres.connection import Connection
from projections.completeness import Folded
from projections.declare import Changes, Key, Projection, Row, Standing, Table

LOOK = 0.01
"""Seconds between two looks at a position that is waited for."""


class Behind(KehuError):
    """A read model has not folded the position that was asked for. Check that a `kehu worker` runs, or ask for less."""

    exit_code = 4


class PostgresReadModels:
    """Rows and positions of projections over one connection in autocommit mode, used by one thread.

    It follows the live builds: when another one becomes live, the next batch goes there. With `builds` it keeps to
    those, and knows no other projection.
    """

    def __init__(self, conninfo: str, builds: Sequence[Build] = ()) -> None:
        self._conninfo = conninfo
        self._bound = {build.name: build.build for build in builds}
        self._builds: dict[str, Build] = {}
        self._connection = Connection(conninfo, "kehu-projector", dict_row, "-c search_path=kehu")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def create(self, projection: Projection) -> None:
        """Make the first build of a projection if there is none, and what is missing of the live one."""
        builds = Builds(self._conninfo)
        try:
            builds.set_up(projection)
        finally:
            builds.close()

    def standing(self, projections: Sequence[Projection]) -> dict[str, Standing]:
        """How each projection stands; absent is one of which there is no such build, as before `kehu rebuild`."""
        query = f"SELECT {COLUMNS} FROM projection_builds WHERE name = ANY(%s)"  # noqa: S608
        with self._connection.use() as conn:
            rows = conn.execute(query, ([p.name for p in projections],)).fetchall()
        versions = {p.name: p.version for p in projections}
        found: dict[str, Standing] = {}
        for build in (Build(**row) for row in rows):
            if build.version == versions[build.name] and self._ours(build):
                self._builds[build.name] = build
                found[build.name] = Standing(build.position, build.error, build.paused)
        return found

    def position(self, projection: Projection) -> Position:
        standing = self.standing([projection]).get(projection.name)
        return standing.position if standing else Position(0)

    def wait_for(self, projection: Projection, position: Position, seconds: float) -> None:
        """Return when a position is folded. Raises Behind when it is not within so many seconds."""
        until = monotonic() + seconds
        while (now := self.position(projection)) < position:
            if monotonic() >= until:
                raise Behind(f"{projection.name} is at position {now} of {position} after {seconds:.2g} s")
            sleep(LOOK)

    def load(self, projection: Projection, table: Table, keys: Sequence[Key]) -> dict[Key, Row]:
        columns = list(zip(*keys, strict=True))
        query = sql.SQL("SELECT {} FROM {} JOIN unnest({}) AS wanted ({}) USING ({})").format(
            names({**table.key, **table.columns}),
            sql.Identifier(self._build(projection).schema, table.name),
            sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(t.split()[0])) for t in table.key.values()),
            names(table.key),
            names(table.key),
        )
        with self._connection.use() as conn:
            return _by_key(table, conn.execute(query, [list(c) for c in columns]).fetchall())

    def due(self, projection: Projection, now: datetime, limit: int) -> dict[Key, Row]:
        table = projection.tables[0]
        query = sql.SQL("SELECT {} FROM {} WHERE next_change_at <= %s ORDER BY next_change_at LIMIT %s").format(
            names({**table.key, **table.columns}), sql.Identifier(self._build(projection).schema, table.name)
        )
        with self._connection.use() as conn:
            return _by_key(table, conn.execute(query, (now, limit)).fetchall())

    def save(
        self, projection: Projection, expected: Position, position: Position, changes: Changes, folded: Folded
    ) -> None:
        build = self._build(projection)
        with self._connection.use() as conn, conn.transaction():
            # The state too: a build that is switched meanwhile belongs to somebody else.
            moved = conn.execute(
                "UPDATE projection_builds SET position = %s, updated_at = clock_timestamp(), error = NULL,"
                " counted_from = coalesce(counted_from, position)"
                " WHERE name = %s AND version = %s AND build = %s AND state = %s AND position = %s AND NOT paused",
                (position, build.name, build.version, build.build, build.state, expected),
            )
            if moved.rowcount != 1:
                raise Fenced(f"projection {projection.name} is not at position {expected}")
            reach("saving", conn)
            _count(conn, build, folded)
            for table, rows in changes.items():
                _write(conn, build.schema, table, rows)

    def stopped(self, projection: Projection, position: Position, error: str) -> None:
        build = self._build(projection)
        with self._connection.use() as conn:
            conn.execute(
                "UPDATE projection_builds SET error = %s WHERE name = %s AND version = %s AND build = %s"
                " AND position = %s",
                (error, build.name, build.version, build.build, position),
            )

    def digest(self, projection: Projection) -> str:
        """A digest over all rows of all tables, for comparing two ways to the same read model."""
        build = self._build(projection)
        parts = []
        with self._connection.use() as conn, conn.transaction():
            for table in projection.tables:
                query = sql.SQL("SELECT coalesce(md5(string_agg(md5(t::text), '' ORDER BY {})), '') AS d FROM {} t")
                row = conn.execute(query.format(names(table.key), sql.Identifier(build.schema, table.name))).fetchone()
                parts.append(row["d"] if row else "")
        return ":".join(parts)

    def _ours(self, build: Build) -> bool:
        if not self._bound:
            return build.state == "live"
        return build.build == self._bound.get(build.name)

    def _build(self, projection: Projection) -> Build:
        """The build whose position was asked for last."""
        if projection.name not in self._builds:
            self.standing([projection])
        return self._builds[projection.name]


def _count(conn: "psycopg.Connection[Any]", build: Build, folded: Folded) -> None:
    if not folded.ranges:
        return
    conn.execute(
        "INSERT INTO projection_folds AS f (name, version, build, range_start, events, digest)"
        " SELECT %s, %s, %s, * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[])"
        " ON CONFLICT (name, version, build, range_start)"
        " DO UPDATE SET events = f.events + excluded.events, digest = f.digest # excluded.digest",
        (
            *(build.name, build.version, build.build, list(folded.ranges)),
            *map(list, zip(*folded.ranges.values(), strict=True)),
        ),
    )


def _write(
    conn: "psycopg.Connection[Any]",
    schema: str,
    table: Table,
    rows: Mapping[Key, tuple[Position, Row | None]],
) -> None:
    target = sql.Identifier(schema, table.name)
    incoming = sql.Identifier(f"incoming_{schema}_{table.name}"[:63])
    kept = [(key, position, row) for key, (position, row) in rows.items() if row is not None]
    dropped = [key for key, (_, row) in rows.items() if row is None]
    conn.execute(sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(incoming, target))
    all_columns = [*table.key, *table.columns, "position"]
    with conn.cursor() as cursor:
        if kept:
            json_columns = {name for name, kind in table.columns.items() if kind.startswith("jsonb")}
            copy = sql.SQL("COPY {} ({}) FROM STDIN").format(incoming, names(all_columns))
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
                    names(table.key),
                    sql.SQL(", ").join(
                        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in [*table.columns, "position"]
                    ),
                    cols=names(all_columns),
                )
            )
        if dropped:
            condition = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(c)) for c in table.key)
            cursor.executemany(sql.SQL("DELETE FROM {} WHERE {}").format(target, condition), dropped)


def _by_key(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[Key, Row]:
    return {tuple(row[c] for c in table.key): {c: row[c] for c in table.columns} for row in rows}
