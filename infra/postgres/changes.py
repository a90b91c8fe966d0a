"""The change feed: what changed in a view after a token, in the order of commits, with the keys of what is gone.

A token says of which build one has everything up to which moment. As long as that build is live the rows after it are
found by an index (docs/adr/0016). When another one is live, both are compared, a page of keys after the other; where
that cannot be done, all rows come. Whoever reads sees a row as it is at that moment, so bursts are one change.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import starmap
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from domain.values import Position
from infra.errors import KehuError
from infra.postgres.builds import COLUMNS, Build, key_text, names, of_row
from infra.postgres.change_queries import (
    after_key,
    changed_rows,
    chosen,
    left_places,
    listed,
    row_of,
    same_key,
    table_of,
)
from infra.postgres.connection import Connection
from infra.postgres.querying import dict_rows
from projections.declare import Table
from projections.views import Update, View, microseconds, moment

KEPT = timedelta(days=3)
"""How long the keys of dropped rows stay. With an older token everything comes."""
Conn = psycopg.Connection[tuple[Any, ...]]


class WrongToken(KehuError):
    """This is no token of the change feed."""

    exit_code = 2


class Walk(NamedTuple):
    """A way through all keys. With a `former` build only what differs from it is told, and what is gone."""

    former: tuple[int, datetime] | None
    """Its serial, and the moment up to which the reader has its rows."""
    gone: bool
    """Whether the rows are through, and the keys of the former build come."""
    after: str | None
    """The last key that was looked at."""


@dataclass(frozen=True, slots=True)
class Token:
    """Of the build with this serial, everything up to `at` is known; while it is walked, up to the key it is at."""

    build: int
    at: datetime
    walk: Walk | None = None

    def __str__(self) -> str:
        text = f"{self.build}.{microseconds(self.at)}"
        if self.walk is None:
            return text
        former, gone, after = self.walk
        said = orjson.dumps([former and [former[0], microseconds(former[1])], gone, after])
        return f"{text}.{said.hex()}"

    @classmethod
    def read(cls, text: str) -> "Token":
        """The token that was written like this. Raises WrongToken."""
        try:
            build, at, *said = text.split(".")
            walk = None
            if said:
                former, gone, after = orjson.loads(bytes.fromhex(said[0]))
                walk = Walk(former and (int(former[0]), moment(former[1])), bool(gone), after)
            return cls(int(build), moment(int(at)), walk)
        except (ValueError, TypeError, OverflowError) as error:
            raise WrongToken(text[:100]) from error


@dataclass(frozen=True, slots=True)
class Live:
    """The live build of a projection as it stands, and the end of the log."""

    build: Build
    at: datetime
    """When it was last saved: every row that changed by then can be seen."""
    head: Position
    since: datetime
    """When the build became live; later for each switch, also for one back to a former build."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some changes, and the token to go on with. `more`: there are others already."""

    updates: Sequence[Update]
    token: Token
    more: bool


class Feed:
    """Reads changes over a connection in autocommit mode, used by one thread.

    With `places` each change also says which places its row has left, for readers that may see some rows only.
    """

    def __init__(self, connection: Connection[tuple[Any, ...]], *, places: bool = False) -> None:
        self._connection = connection
        self._places = places

    def live(self) -> Mapping[str, Live]:
        """Projection -> how its live build stands; one look at a handful of rows."""
        with self._connection.use() as conn:
            return live_builds(conn)

    def follows(self, token: Token, live: Live) -> bool:
        """Whether the token belongs to this build, and all that has changed since is still known."""
        return token.build == live.build.serial and live.at - KEPT <= token.at <= live.at

    def start(self, view: View, token: Token | None, live: Live) -> Token:
        """The token to go on with where `follows` is not so: a comparison with the build that is known, if it is there.

        Otherwise a walk without a former build: everything comes, and what is gone the reader has to find out.
        """
        former = None if token is None else self._former(view, token, live)
        return Token(live.build.serial, live.at, Walk(former, gone=False, after=None))

    def page(self, view: View, token: Token, live: Live, most: int) -> Page:
        """What comes next, some more rows than `most` when many changed at once. `live` was asked for just before."""
        places = self._places and view.table.placed
        with self._connection.use() as conn:
            if token.walk is None:
                return _changes(conn, view, token, live, most, places)
            if token.walk.gone:
                return _gone(conn, view, token, token.walk, live, most, places)
            return _walked(conn, view, token, token.walk, live, most, places)

    def rows(self, view: View, live: Live, keys: Sequence[str]) -> list[Update]:
        """What became of the rows with these keys: as they are now, or that they are gone."""
        table = view.table
        query = sql.SQL("SELECT {key}, t.changed_at, t.position, {row} FROM {table} AS t WHERE {chosen}").format(
            key=key_text(table), row=row_of(view), table=table_of(live.build, table.name), chosen=chosen(table)
        )
        with self._connection.use() as conn:
            found = {
                update.key: update for update in starmap(Update, conn.execute(query, {"keys": list(keys)}).fetchall())
            }
        return [found.get(key) or Update(key, live.at, live.build.position, None) for key in keys]

    def forget(self, view: View, live: Live, most: int = 10_000) -> int:
        """Forget rows that were dropped, and places that were left, long ago, so many at most; how many keys."""
        if view.table.removed is None:
            return 0
        with self._connection.use() as conn:
            if view.table.placed:
                conn.execute(
                    "DELETE FROM kehu.places WHERE ctid = ANY(ARRAY(SELECT ctid FROM kehu.places"
                    " WHERE (build, table_name) = (%s, %s) AND left_at < %s ORDER BY left_at LIMIT %s))",
                    (live.build.schema, view.table.name, live.at - KEPT, most),
                )
            target = sql.Identifier(live.build.schema, view.table.removed)
            query = sql.SQL(
                "DELETE FROM {t} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {t} WHERE removed_at < %s"
                " ORDER BY removed_at LIMIT %s))"
            ).format(t=target)
            return conn.execute(query, (live.at - KEPT, most)).rowcount

    def note(self, keys: Mapping[str, bool]) -> None:
        """Note keys that a reader has, for `missing`; False for one that it knows to be gone."""
        with self._connection.use() as conn:
            conn.execute("CREATE TEMP TABLE IF NOT EXISTS noted (key text PRIMARY KEY, there boolean NOT NULL)")
            conn.execute(
                "INSERT INTO noted SELECT key, there FROM unnest(%s::text[], %s::boolean[]) AS o (key, there)"
                " ON CONFLICT (key) DO UPDATE SET there = excluded.there",
                (list(keys), list(keys.values())),
            )

    def missing(self, view: View, live: Live, most: int) -> Iterator[list[Update]]:
        """Of the noted keys those that the view does not have, some at a time; then none is noted any more."""
        with self._connection.use() as conn:
            if conn.execute("SELECT to_regclass('pg_temp.noted') IS NULL").fetchone() == (True,):
                return
            there = sql.SQL("DELETE FROM noted USING {} AS t WHERE noted.key = {}")
            conn.execute(there.format(table_of(live.build, view.table.name), key_text(view.table)))
        after = ""
        while True:
            with self._connection.use() as conn:
                query = "SELECT key FROM noted WHERE there AND key > %s ORDER BY key LIMIT %s"
                rows = conn.execute(query, (after, most)).fetchall()
                if not rows:
                    conn.execute("DROP TABLE noted")
                    return
            after = rows[-1][0]
            yield [Update(key, live.at, live.build.position, None) for (key,) in rows]

    def _former(self, view: View, token: Token, live: Live) -> tuple[int, datetime] | None:
        """The build that the reader has, when it can be compared with the live one."""
        with self._connection.use() as conn:
            found = _build(conn, token.build)
            if found is None or token.walk is not None or token.build == live.build.serial:
                return None
            build, at = found
            if not at - KEPT <= token.at <= at:
                return None
            columns = [*view.table.key, *view.columns]
            if _columns(conn, build, view.table, columns) != _columns(conn, live.build, view.table, columns):
                return None
        return token.build, token.at


def live_builds(conn: "psycopg.Connection[Any]") -> Mapping[str, Live]:
    """Projection -> how its live build stands, over any connection."""
    query = f"""SELECT {COLUMNS}, updated_at, live_since, n FROM kehu.projection_builds, kehu.log_head
        WHERE state = 'live'"""  # noqa: S608
    return {
        row["name"]: Live(of_row(row), row["updated_at"], Position(row["n"]), row["live_since"])
        for row in dict_rows(conn, query)
    }


def _changes(conn: Conn, view: View, token: Token, live: Live, most: int, places: bool) -> Page:
    # Up to the moment that the build had: what changed later has another moment by now, and comes with the next page.
    given = {"after": token.at, "upto": live.at, "most": most, "position": live.build.position}
    rows = conn.execute(changed_rows(view, live.build.schema, places), given).fetchall()
    updates = list(starmap(Update, rows))
    more = len(updates) >= most
    return Page(updates, Token(token.build, updates[-1].at if more else live.at), more)


def _walked(conn: Conn, view: View, token: Token, walk: Walk, live: Live, most: int, places: bool) -> Page:
    """The rows of the next keys; of those that the reader has as they are, only the key."""
    table = view.table
    rows: sql.Composable = row_of(view)
    joined: sql.Composable = sql.SQL("")
    left: sql.Composable = sql.SQL("")
    given: dict[str, Any] = {"most": most}
    if walk.former is not None:
        found = _build(conn, walk.former[0])
        if found is None:
            return _again(token, live)
        given["known"] = walk.former[1]
        columns = [*view.columns, "position"]
        mine, theirs = (listed(side, columns) for side in ("t", "f"))
        joined = sql.SQL("LEFT JOIN {} AS f ON {}").format(table_of(found[0], table.name), same_key("f", "t", table))
        rows = sql.SQL(
            "CASE WHEN f.changed_at IS NULL OR f.changed_at > %(known)s OR ROW({}) IS DISTINCT FROM ROW({}) THEN {} END"
        ).format(mine, theirs, rows)
        if places:
            last = sql.SQL("SELECT f.branch, f.segment WHERE f.changed_at IS NOT NULL")
            left = sql.SQL(", ({})").format(left_places(found[0].schema, table, "known", last))
    query = sql.SQL(
        "SELECT {key}, t.changed_at, t.position, {rows}{left} FROM"
        " (SELECT * FROM {table} {after} ORDER BY {keys} LIMIT %(most)s) AS t {joined} ORDER BY {keys_of_t}"
    ).format(
        key=key_text(table),
        rows=rows,
        left=left,
        table=table_of(live.build, table.name),
        after=after_key(table, walk.after, given),
        keys=names(table.key),
        joined=joined,
        keys_of_t=listed("t", table.key),
    )
    seen = list(starmap(Update, conn.execute(query, given).fetchall()))
    updates = [one for one in seen if one.row is not None]
    if len(seen) == most:
        return Page(updates, replace(token, walk=walk._replace(after=seen[-1].key)), more=True)
    if walk.former is not None:
        return Page(updates, replace(token, walk=walk._replace(gone=True, after=None)), more=True)
    return Page(updates, replace(token, walk=None), more=live.at > token.at)


def _gone(conn: Conn, view: View, token: Token, walk: Walk, live: Live, most: int, places: bool) -> Page:
    """Which of the next keys that the reader may have are gone."""
    table = view.table
    assert walk.former is not None
    serial, known = walk.former
    found = _build(conn, serial)
    if found is None:
        return _again(token, live)
    given: dict[str, Any] = {"most": most, "known": known}
    keys, after = names(table.key), after_key(table, walk.after, given)
    had = sql.SQL("SELECT {} FROM {} {}").format(keys, table_of(found[0], table.name), after)
    if table.removed is not None:
        dropped = sql.SQL("SELECT {} FROM (SELECT * FROM {} WHERE removed_at > %(known)s) AS r {}")
        removed = dropped.format(keys, table_of(found[0], table.removed), after)
        had = sql.SQL("({had} ORDER BY {keys} LIMIT %(most)s) UNION ({removed} ORDER BY {keys} LIMIT %(most)s)").format(
            had=had, removed=removed, keys=keys
        )
    left: sql.Composable = sql.SQL("NULL")
    if places:
        last = sql.SQL("SELECT f.branch, f.segment FROM {} AS f WHERE {}").format(
            table_of(found[0], table.name), same_key("f", "t", table)
        )
        left = sql.SQL("({})").format(left_places(found[0].schema, table, "known", last))
    query = sql.SQL(
        "SELECT {key}, NOT EXISTS (SELECT FROM {table} AS l WHERE {same}), {left} FROM"
        " (SELECT * FROM ({had}) AS had ORDER BY {keys} LIMIT %(most)s) AS t ORDER BY {keys_of_t}"
    ).format(
        key=key_text(table),
        left=left,
        table=table_of(live.build, table.name),
        same=same_key("l", "t", table),
        had=had,
        keys=keys,
        keys_of_t=listed("t", table.key),
    )
    seen = conn.execute(query, given).fetchall()
    updates = [Update(key, live.at, live.build.position, None, left) for key, gone, left in seen if gone]
    if len(seen) == most:
        return Page(updates, replace(token, walk=walk._replace(after=seen[-1][0])), more=True)
    return Page(updates, replace(token, walk=None), more=live.at > token.at)


def _again(token: Token, live: Live) -> Page:
    """The former build was dropped meanwhile: the token of a build that is not there leads to everything."""
    return Page([], Token(0, token.at), more=True)


def _build(conn: Conn, serial: int) -> tuple[Build, datetime] | None:
    query = f"SELECT {COLUMNS}, updated_at FROM kehu.projection_builds WHERE serial = %s"  # noqa: S608
    found = dict_rows(conn, query, (serial,))
    return (of_row(found[0]), found[0]["updated_at"]) if found else None


def _columns(conn: Conn, build: Build, table: Table, wanted: Iterable[str]) -> dict[str, str]:
    """Those of the wanted columns that the build has, with their types, and of its key."""
    query = (
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s AND column_name = ANY(%s)"
    )
    return dict(conn.execute(query, (build.schema, table.name, list(wanted))).fetchall())


def connection(conninfo: str) -> Connection[tuple[Any, ...]]:
    """A connection for a feed."""
    return Connection(conninfo, "kehu-views", tuple_row)
