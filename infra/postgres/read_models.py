"""Read-model tables and positions of projections in PostgreSQL.

Each build of a projection has a schema of its own (`infra.postgres.builds`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic, sleep
from typing import Any

import orjson
import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.rows import dict_row, tuple_row

from domain.values import Position
from infra.errors import KehuError
from infra.failpoints import reach
from infra.postgres import few_rows, risk_models
from infra.postgres.builds import COLUMNS, Build, Builds, Conn, names, of_row
from infra.postgres.connection import Connection
from infra.postgres.copying import ADDED, add_up, copy_rows, incoming, write_new
from infra.postgres.digests import digest
from projections.completeness import Folded
from projections.declare import Change, Changed, Key, Mark, Projection, Row, Save, Standing, Table, Wanted

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
        self._models: dict[str, bytes] = {}
        # Nobody waits for the disk: what a crash of the server takes back, rows with positions, is folded again.
        options = "-c search_path=kehu -c synchronous_commit=off"
        self._connection = Connection(conninfo, "kehu-projector", dict_row, options)

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
        query = f"SELECT {COLUMNS}, updated_at FROM projection_builds WHERE name = ANY(%s)"  # noqa: S608
        with self._connection.use() as conn:
            rows = conn.execute(query, ([p.name for p in projections],)).fetchall()
            for model in {row["model"] for row in rows} - {None, *self._models}:
                self._models[model] = risk_models.document(conn, model)  # it never changes
        versions = {p.name: p.version for p in projections}
        found: dict[str, Standing] = {}
        for row in rows:
            build = of_row(row)
            if build.version == versions[build.name] and self._ours(build):
                self._builds[build.name] = build
                mark = build.build, row["updated_at"]
                model = None if build.model is None else self._models[build.model]
                found[build.name] = Standing(build.position, build.error, build.paused, mark, model)
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

    def load(self, wanted: Sequence[Wanted]) -> list[dict[Key, Row]]:
        with self._connection.use() as conn, conn.pipeline():
            cursors = [
                _cursor(conn).execute(few_rows.select(self._build(projection).schema, table), few_rows.by_column(keys))
                for projection, table, keys in wanted
            ]
            return [
                dict(_split(table, row) for row in cursor.fetchall())
                for cursor, (_, table, _) in zip(cursors, wanted, strict=True)
            ]

    def due(self, projection: Projection, now: datetime, limit: int) -> list[Change]:
        table = projection.tables[0]
        query = sql.SQL(
            "SELECT {}, position FROM {} WHERE next_change_at <= %s ORDER BY next_change_at LIMIT %s"
        ).format(names(_named(table)), sql.Identifier(self._build(projection).schema, table.name))
        with self._connection.use() as conn:
            rows = _cursor(conn).execute(query, (now, limit)).fetchall()
        return [(key, row[-1], found) for row in rows for key, found in (_split(table, row),)]

    def save(self, saves: Sequence[Save]) -> dict[str, Mark]:
        builds = {one.projection.name: self._build(one.projection) for one in saves}
        try:
            with self._connection.use() as conn, _sending(conn, saves), conn.transaction():
                moved = _move(conn, [(builds[one.projection.name], one) for one in saves])
                reach("saving", conn)
                ours = [(builds[one.projection.name], one) for one in saves if one.projection.name in moved]
                count(conn, [(build, one.folded) for build, one in ours])
                for build, one in ours:
                    for table, changed in one.changes.items():
                        _write(conn, build.schema, table, changed, moved[build.name])
        except psycopg.Error:
            # Of what was sent behind the statement that failed nothing was done, not even the end of the transaction.
            self.close()
            raise
        return {name: (builds[name].build, at) for name, at in moved.items()}

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
        schema = self._build(projection).schema
        with self._connection.use() as conn, conn.transaction():
            return ":".join(
                digest(conn, sql.Identifier(schema, table.name), [*table.key, *table.columns, "position"])[1]
                for table in projection.tables
            )

    def _ours(self, build: Build) -> bool:
        if not self._bound:
            return build.state == "live"
        return build.build == self._bound.get(build.name)

    def _build(self, projection: Projection) -> Build:
        """The build whose position was asked for last."""
        if projection.name not in self._builds:
            self.standing([projection])
        return self._builds[projection.name]


@contextmanager
def _sending(conn: Conn, saves: Sequence[Save]) -> Iterator[None]:
    """Send statements without waiting for each answer, unless many rows need a COPY."""
    if any(_many(changed) for one in saves for changed in one.changes.values()):
        yield
    else:
        with conn.pipeline():
            yield


def _move(conn: Conn, saves: Sequence[tuple[Build, Save]]) -> dict[str, datetime]:
    """Move the builds that stand where they are expected; name -> when."""
    # The state too: a build that is switched meanwhile belongs to somebody else. Later than at every save before: who
    # has seen rows up to a `changed_at` finds the others after it. All projectors lock in the same order.
    wanted = [
        [build.name, build.version, build.build, build.state, save.expected, save.mark[-1], save.position]
        for build, save in saves
    ]
    rows = conn.execute(
        "WITH wanted AS (SELECT o->>0 AS name, (o->>1)::int AS version, (o->>2)::int AS build, o->>3 AS state,"
        " (o->>4)::bigint AS position, (o->>5)::timestamptz AS updated_at, (o->>6)::bigint AS following"
        " FROM json_array_elements(%s::json) AS o),"
        " b AS (SELECT b.name, b.version, b.build, w.following FROM wanted w JOIN projection_builds b"
        " USING (name, version, build, state, position, updated_at) WHERE NOT b.paused ORDER BY name FOR UPDATE OF b)"
        " UPDATE projection_builds p SET position = b.following, error = NULL,"
        " updated_at = greatest(clock_timestamp(), p.updated_at + interval '1 microsecond'),"
        " counted_from = coalesce(p.counted_from, p.position)"
        " FROM b WHERE (p.name, p.version, p.build) = (b.name, b.version, b.build) RETURNING p.name, p.updated_at",
        (orjson.dumps(wanted).decode(),),
    ).fetchall()
    return {row["name"]: row["updated_at"] for row in rows}


def count(conn: "psycopg.Connection[Any]", done: Iterable[tuple[Build, Folded]]) -> None:
    """Add what was folded to what each build has counted."""
    # In one order, since two slices of a build may count at the same time.
    counted = [
        [build.name, build.version, build.build, start, *folded.ranges[start]]
        for build, folded in done
        for start in sorted(folded.ranges)
    ]
    if counted:
        conn.execute(
            "INSERT INTO projection_folds AS f (name, version, build, range_start, events, digest)"
            " SELECT o->>0, (o->>1)::int, (o->>2)::int, (o->>3)::bigint, (o->>4)::bigint, (o->>5)::bigint"
            " FROM json_array_elements(%s::json) AS o ON CONFLICT (name, version, build, range_start)"
            " DO UPDATE SET events = f.events + excluded.events, digest = f.digest # excluded.digest",
            (orjson.dumps(counted).decode(),),
        )


def _many(changed: Changed) -> bool:
    return sum(map(len, (changed.added, changed.replaced, changed.appended, changed.summed))) > few_rows.MOST


def _write(conn: "psycopg.Connection[Any]", schema: str, table: Table, changed: Changed, at: datetime) -> None:
    if not _many(changed):
        few_rows.write(conn, schema, table, changed, at)
        return
    write_new(conn, schema, table, changed, at)
    if changed.summed:
        add_up(conn, schema, table)
    if changed.replaced:
        new = incoming(conn, schema, table)
        copy_rows(conn, new, table, changed.replaced, at)
        conn.execute(
            sql.SQL("INSERT INTO {} ({cols}) SELECT {cols} FROM {} ON CONFLICT ({}) DO UPDATE SET {}").format(
                sql.Identifier(schema, table.name),
                new,
                names(table.key),
                sql.SQL(", ").join(
                    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in [*table.columns, *ADDED]
                ),
                cols=names([*_named(table), *ADDED]),
            )
        )
    few_rows.write(conn, schema, table, Changed(dropped=changed.dropped), at)


def _cursor(conn: Conn) -> "psycopg.Cursor[tuple[Any, ...]]":
    """For rows of a table: binary, as tuples."""
    cursor = conn.cursor(row_factory=tuple_row, binary=True)
    cursor.adapters.register_loader("jsonb", _LoadJsonb)
    return cursor


class _LoadJsonb(Loader):
    """JSON of the binary protocol, behind one byte for its version."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return orjson.loads(memoryview(data)[1:])


def _named(table: Table) -> list[str]:
    return [*table.key, *table.columns]


def _split(table: Table, row: tuple[Any, ...]) -> tuple[Key, Row]:
    """Key and row of a whole row: key, columns, and whatever follows."""
    n = len(table.key)
    return row[:n], dict(zip(table.columns, row[n:], strict=False))
