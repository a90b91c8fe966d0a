"""Builds of projections: one is live and serves; a candidate is made beside it; the former one can come back.

A build has a schema of its own: `satisfaction_v1`, then `satisfaction_v1_b2`. Views of the tables' names in the schema
`kehu` show the live build, so that a reader needs neither version nor build.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row

from domain.administration import ProjectionPaused, ProjectionSwitched
from domain.ports import Unavailable
from domain.values import Position
from infra.errors import KehuError
from infra.postgres import acts, querying, roles
from infra.postgres.connection import Connection
from projections.declare import PLACE, Index, Projection, Table


class AnotherRebuild(KehuError):
    """Another process works on the builds of this projection. Wait until it is done."""


class ViewIsHeld(KehuError):
    """A reader holds a view and the switch would wait behind it. End its transaction or try again; nothing changed."""


@dataclass(frozen=True, slots=True)
class Build:
    """One set of tables of a projection, and how far the log is folded into it. `state`: live, candidate or former."""

    name: str
    version: int
    build: int
    state: str
    position: Position
    error: str | None
    paused: bool
    model: str | None
    """The id of the model that fills its rows, where its projection takes one; None: as it is declared."""
    serial: int
    """No other build had this number or will get it; `build` comes again when the last one was dropped."""

    @property
    def schema(self) -> str:
        """Where its tables are."""
        return f"{self.name}_v{self.version}" + (f"_b{self.build}" if self.build > 1 else "")


_FIELDS = ("name", "version", "build", "state", "position", "error", "paused", "model", "serial")
COLUMNS = ", ".join(_FIELDS)
Conn = psycopg.Connection[dict[str, Any]]
CLEARS_SAMPLES = 180_000
"""From this version on PostgreSQL removes samples of one column when it is told to. Before, they go with the table."""


def of_row(row: Mapping[str, Any]) -> Build:
    """The build that a row with these columns, and maybe others, describes."""
    return Build(**{name: row[name] for name in _FIELDS})


class Builds:
    """Makes, switches and drops builds; over one connection, used by one thread."""

    def __init__(self, conninfo: str) -> None:
        options = "-c search_path=kehu -c lock_timeout=3s -c idle_in_transaction_session_timeout=30s"
        self._connection = Connection(conninfo, "kehu-builds", dict_row, options)

    def close(self) -> None:
        """Close the connection, and with it what `claim` claimed."""
        self._connection.close()

    def claim(self, name: str) -> None:
        """Work on this projection alone until `close`. Raises AnotherRebuild."""
        # It waits as long as for any lock: the server may not have noticed yet that a former process ended.
        try:
            with self._connection.use() as conn:
                conn.execute("SELECT pg_advisory_lock(hashtext('kehu-rebuild'), hashtext(%s))", (name,))
        except Unavailable as error:
            if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise AnotherRebuild(name) from error
            raise

    def of(self, name: str) -> dict[str, Build]:
        """State -> the build of this projection that is in it."""
        with self._connection.use() as conn:
            found = conn.execute(f"SELECT {COLUMNS} FROM projection_builds WHERE name = %s", (name,))  # noqa: S608
            return {row["state"]: of_row(row) for row in found}

    def set_up(self, projection: Projection) -> None:
        """Make the first build with its views if there is none, and what is missing of the live one.

        A live build of another version stays as it is: the new version is made with `kehu rebuild`.
        """
        with self._connection.use() as conn, conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(hashtext('kehu-read-models'))")
            conn.execute(
                "INSERT INTO projection_builds (name, version, build, state, counted_from)"
                " SELECT %(name)s, %(version)s, 1, 'live', 0"
                " WHERE NOT EXISTS (SELECT FROM projection_builds WHERE name = %(name)s AND state = 'live')",
                {"name": projection.name, "version": projection.version},
            )
            live = _locked(conn, projection.name, "live")
            assert live is not None
            if live.version == projection.version:
                _make_tables(conn, projection, live)
                for table in projection.tables:
                    for index in table.every_index:
                        conn.execute(index_of(live.schema, table, index))
                _show(conn, projection, live)
                roles.grant(conn)

    def begin(self, projection: Projection) -> Build:
        """An empty candidate without indexes; `infra.postgres.indexes` makes them when it is filled.

        Only summed tables have their primary key, to be added to by it.
        """
        with self._connection.use() as conn, conn.transaction():
            conn.execute(
                "INSERT INTO projection_builds (name, version, build, state, counted_from, model)"
                " SELECT %(name)s, %(version)s, coalesce(max(build), 0) + 1, 'candidate', 0,"
                " (SELECT model FROM projection_builds WHERE name = %(name)s AND state = 'live' FOR SHARE)"
                " FROM projection_builds WHERE name = %(name)s AND version = %(version)s",
                {"name": projection.name, "version": projection.version},
            )
            candidate = _locked(conn, projection.name, "candidate")
            assert candidate is not None
            _make_tables(conn, projection, candidate, keyed=False)
            roles.grant(conn)
        return candidate

    def filled(self, builds: Iterable[Build], position: Position) -> None:
        """These empty candidates hold what follows from the log up to a position, all at once."""
        with self._connection.use() as conn, conn.transaction():
            for build in builds:
                conn.execute(
                    "UPDATE projection_builds SET position = %s, updated_at = clock_timestamp()"
                    " WHERE (name, version, build, state, position) = (%s, %s, %s, 'candidate', 0)",
                    (position, build.name, build.version, build.build),
                )

    def drop(self, build: Build) -> None:
        """Remove a build that is not live."""
        with self._connection.use() as conn, conn.transaction():
            _drop(conn, build)

    @contextmanager
    def held(self, name: str) -> Iterator[Build | None]:
        """The live build, which nobody moves until the block ends."""
        with self._connection.use() as conn, conn.transaction():
            yield _locked(conn, name, "live")

    def switch(self, projection: Projection, to: Build, by: str, reason: str | None, at: datetime) -> bool:
        """Let the views show another build, in one transaction; the live one is the former then. The log says by whom.

        False when the live build is ahead: fold on and try again, or readers would go back in time. Raises ViewIsHeld.
        """
        try:
            with self._connection.use() as conn, conn.transaction():
                live = _locked(conn, projection.name, "live")
                wanted = _locked(conn, projection.name, to.state)
                if wanted is None or (live is not None and wanted.position < live.position):
                    return False
                former = _locked(conn, projection.name, "former")
                if former is not None and former != wanted:
                    _drop(conn, former)
                conn.execute(
                    "UPDATE projection_builds SET live_since = clock_timestamp(),"
                    " state = CASE WHEN state = 'live' THEN 'former' ELSE 'live' END"
                    " WHERE name = %s AND state IN ('live', %s)",
                    (projection.name, to.state),
                )
                if wanted.version == projection.version:
                    _make_tables(conn, projection, wanted)  # of a build of a former release something may be missing
                _show(conn, projection, wanted)
                roles.grant(conn)
                before = (live.version, live.build) if live else (None, None)
                act = ProjectionSwitched(
                    by=by,
                    reason=reason,
                    projection=projection.name,
                    version=wanted.version,
                    build=wanted.build,
                    former_version=before[0],
                    former_build=before[1],
                )
                acts.record(conn, act, at)
        except Unavailable as error:
            if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise ViewIsHeld(projection.name) from error
            raise
        return True

    def pause(self, name: str, by: str, reason: str | None, at: datetime, *, paused: bool) -> None:
        """Stop or resume the folding of the live build, wherever its projector runs. The log says by whom."""
        with self._connection.use() as conn, conn.transaction():
            conn.execute("UPDATE projections SET paused = %s WHERE name = %s", (paused, name))
            acts.record(conn, ProjectionPaused(by=by, reason=reason, projection=name, paused=paused), at)

    def retry(self, name: str) -> None:
        """Let a projection that stopped at an event try it again."""
        with self._connection.use() as conn:
            conn.execute("UPDATE projections SET error = NULL WHERE name = %s", (name,))


def _locked(conn: Conn, name: str, state: str) -> Build | None:
    query = f"SELECT {COLUMNS} FROM projection_builds WHERE name = %s AND state = %s FOR UPDATE"  # noqa: S608
    row = conn.execute(query, (name, state)).fetchone()
    return of_row(row) if row else None


def _make_tables(conn: Conn, projection: Projection, build: Build, *, keyed: bool = True) -> None:
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(build.schema)))
    for table in projection.tables:
        make_table(conn, build.schema, table, keyed=keyed)
        if table.removed:
            _make_removed(conn, build.schema, table, table.removed)
        if table.placed:
            _note_places(conn, build.schema, table)


def make_table(conn: psycopg.Connection[Any], schema: str, table: Table, *, keyed: bool) -> None:
    """Make a table in a schema that there is, unless it has one. Without `keyed`, only a summed one gets its key."""
    keys = [(name, f"{kind} NOT NULL") for name, kind in table.key.items()]
    columns = [*keys, *table.columns.items(), ("position", "bigint NOT NULL")]
    parts = [sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL(t)) for c, t in columns]
    if keyed or table.summed:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(names(table.key)))
    conn.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}){}").format(
            sql.Identifier(schema, table.name), sql.SQL(", ").join(parts), _clearing(table)
        )
    )
    _add_changed_at(conn, schema, table)
    if table.personal:
        _keep_no_samples(conn, schema, table)


def _make_removed(conn: Conn, schema: str, table: Table, name: str) -> None:
    target = sql.Identifier(schema, name)
    columns = [sql.SQL("{} {}").format(sql.Identifier(c), sql.SQL(t)) for c, t in table.key.items()]
    conn.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}, removed_at timestamptz NOT NULL, PRIMARY KEY ({}))").format(
            target, sql.SQL(", ").join(columns), names(table.key)
        )
    )
    index = sql.Identifier(f"{name}_removed_at_idx")
    conn.execute(sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (removed_at)").format(index, target))


def _note_places(conn: Conn, schema: str, table: Table) -> None:
    """Let the server note where a row was that moves. It finds that out for rows it replaces, where we would read."""
    target = sql.Identifier(schema, table.name)
    there = "SELECT FROM pg_trigger WHERE tgname = 'moved' AND tgrelid = %s::regclass"
    if conn.execute(there, (f"{schema}.{table.name}",)).fetchone() is not None:
        return
    were, are = (sql.SQL(", ").join(sql.Identifier(side, name) for name in PLACE) for side in ("old", "new"))
    conn.execute(
        sql.SQL(
            "CREATE TRIGGER moved AFTER UPDATE ON {} FOR EACH ROW WHEN (({}) IS DISTINCT FROM ({}))"
            " EXECUTE FUNCTION kehu.note_place({})"
        ).format(target, were, are, sql.SQL(", ").join(map(sql.Literal, table.key)))
    )


def _clearing(table: Table) -> sql.Composable:
    if table.clear_after is None:
        return sql.SQL("")
    settings = {
        f"autovacuum_vacuum_{kind}{what}": value
        for kind in ("", "insert_")
        for what, value in (("threshold", table.clear_after), ("scale_factor", 0))
    }
    return sql.SQL(" WITH ({})").format(
        sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.SQL(name), value) for name, value in settings.items())
    )


def _add_changed_at(conn: psycopg.Connection[Any], schema: str, table: Table) -> None:
    """What tables of former releases lack. Looked for first, since to add a column waits for every reader."""
    query = "SELECT FROM information_schema.columns WHERE (table_schema, table_name, column_name) = (%s, %s, %s)"
    if conn.execute(query, (schema, table.name, "changed_at")).fetchone() is None:
        # Before every mark that anybody has: whoever has all rows up to one does not get the whole table again.
        add = sql.SQL("ALTER TABLE {} ADD COLUMN changed_at timestamptz NOT NULL DEFAULT 'epoch'")
        conn.execute(add.format(sql.Identifier(schema, table.name)))


def _keep_no_samples(conn: psycopg.Connection[Any], schema: str, table: Table) -> None:
    """Let ANALYZE keep no values of personal columns. Looked for first, since to say so waits for an ANALYZE."""
    query = """SELECT attname AS name FROM pg_attribute
        WHERE attrelid = %s::regclass AND attname = ANY(%s) AND attstattarget IS DISTINCT FROM 0 ORDER BY 1"""
    target = f"{schema}.{table.name}"
    with conn.cursor(row_factory=tuple_row) as cursor:
        sampled = [name for (name,) in cursor.execute(query, (target, sorted(table.personal))).fetchall()]
    for name in sampled:
        keep = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET STATISTICS 0")
        conn.execute(keep.format(sql.Identifier(schema, table.name), sql.Identifier(name)))
        if conn.info.server_version >= CLEARS_SAMPLES:
            conn.execute("SELECT pg_clear_attribute_stats(%s, %s, %s, false)", (schema, table.name, name))


def index_of(schema: str, table: Table, index: Index, *, primary: bool = False) -> sql.Composed:
    """The statement that makes an index if it is missing; `primary`: one that is to become the primary key."""
    statement = sql.SQL("CREATE {}INDEX IF NOT EXISTS {} ON {} ({})").format(
        sql.SQL("UNIQUE " if primary else ""),
        sql.Identifier(f"{table.name}_pkey" if primary else "_".join((table.name, *index.columns, "idx"))),
        sql.Identifier(schema, table.name),
        names(index.columns),
    )
    if index.include:
        statement += sql.SQL(" INCLUDE ({})").format(names(index.include))
    if index.only:
        statement += sql.SQL(" WHERE {}").format(sql.Identifier(index.only))
    return statement


def _show(conn: Conn, projection: Projection, build: Build) -> None:
    """Let the views show this build. Other columns than before need a new view, which has no grants."""
    for table in projection.tables:
        view = sql.Identifier("kehu", table.name)
        select = sql.SQL("VIEW {} AS SELECT * FROM {}").format(view, sql.Identifier(build.schema, table.name))
        try:
            with conn.transaction():
                conn.execute(sql.SQL("CREATE OR REPLACE ") + select)
        except psycopg.errors.InvalidTableDefinition:
            conn.execute(sql.SQL("DROP VIEW {}").format(view))
            conn.execute(sql.SQL("CREATE ") + select)


def _drop(conn: Conn, build: Build) -> None:
    conn.execute(
        "DELETE FROM projection_builds WHERE (name, version, build) = (%s, %s, %s) AND state <> 'live'",
        (build.name, build.version, build.build),
    )
    conn.execute("DELETE FROM places WHERE build = %s", (build.schema,))
    conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(build.schema)))


def names(columns: Iterable[str]) -> sql.Composed:
    """The columns as they are listed in a statement."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def key_text(table: Table) -> sql.Composed:
    """The key of a row of `t` as text."""
    texts = [sql.SQL("{}::text").format(sql.Identifier("t", column)) for column in table.key]
    return texts[0] if len(texts) == 1 else sql.SQL("json_build_array({})::text").format(sql.SQL(", ").join(texts))


def every_build(conn: querying.Connection) -> list[querying.Row]:
    """Every build of every projection: how far it folded the log, whether it rests, and why it stopped if it did."""
    query = """SELECT name, version, build, state, position, head.n AS head, head.n - position AS behind, paused, error,
            updated_at, model, serial
        FROM kehu.projection_builds, (SELECT n FROM kehu.log_head) head ORDER BY name, version, build"""
    return querying.dict_rows(conn, query)
