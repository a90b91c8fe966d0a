"""What replayed tables hold: their rows, their digest beside that of the live read model, and what changed between two.

A view is named as it is published, or by its table. See `infra.replay`, which makes the tables.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row

from domain.values import Recorded
from infra.errors import KehuError
from infra.postgres.builds import Build, names
from infra.postgres.changes import live_builds
from infra.postgres.compare import Difference, count_differences, differences, digest_at, swept_at
from infra.postgres.few_rows import by_column
from infra.postgres.mapper import EVENT_COLUMNS, to_recorded
from infra.postgres.past_tables import BEFORE, SCHEMA, TOUCHES
from infra.postgres.risk_models import as_scored
from projections.catalogue import ALL
from projections.declare import Key, Projection, Row, Table
from projections.views import VIEWS

Conn = psycopg.Connection[dict[str, Any]]
TABLES: Mapping[str, tuple[Projection, Table]] = {
    **{view.name: (view.projection, view.table) for view in VIEWS},
    **{table.name: (projection, table) for projection in ALL for table in projection.tables},
}
"""Views as they are published, and every table of a read model."""
TOLD = 20
"""Events that are told of a row, the first ones."""
AT_ONCE = 500
NOWHERE: Mapping[str, Sequence[str]] = {}


class UnknownView(KehuError):
    """There is no such view. Name one that is published, or a table of a read model."""

    exit_code = 2


class NothingLive(KehuError):
    """There is no live build of this version to compare with. Run `kehu rebuild NAME --switch`."""


def named(view: str) -> tuple[Projection, Table]:
    """The read model and the table of a view. Raises UnknownView."""
    found = TABLES.get(view) or TABLES.get(view.replace("-", "_"))
    if found is None:
        raise UnknownView(f"{view}: use {', '.join(TABLES)}")
    return found


def target(name: str) -> sql.Identifier:
    """A replayed table."""
    return sql.Identifier(SCHEMA, name)


def columns_of(table: Table) -> list[str]:
    """Those beside the key."""
    return [*table.columns, "position"]


def digest_of(conn: Conn, table: Table) -> tuple[int, str]:
    """How many rows a replayed table has, and their digest."""
    return digest_at(conn, table, target(table.name), columns_of(table), None)


def live_build(conn: Conn, projection: Projection) -> Build:
    """The live build of a read model. Raises NothingLive where it is of another version."""
    live = live_builds(conn).get(projection.name)
    if live is None or live.build.version != projection.version:
        raise NothingLive(projection.name)
    return live.build


def digests_beside(
    conn: Conn, projection: Projection, table: Table, build: Build, now: Any, digest: str
) -> tuple[str, str]:
    """The digests of a replayed table, whose own is `digest`, and of the same table of a build.

    Of rows that change as time passes both are taken as of `now`: the live ones were written at moments of their own.
    """
    swept = swept_at(as_scored(conn, projection, now), table, now)
    if swept is not None:
        _, digest = digest_at(conn, table, target(table.name), columns_of(table), swept)
    _, live = digest_at(conn, table, sql.Identifier(build.schema, table.name), columns_of(table), swept)
    return digest, live


def rows_of(
    conn: Conn,
    table: Table,
    where: Mapping[str, Sequence[str]] = NOWHERE,
    limit: int = 0,
    after: Key | None = None,
) -> Iterator[Row]:
    """So many rows of a replayed table, or with 0 all of them, by key, behind one.

    `where` names columns, each with the values of which it has one, as text.
    """
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT {}").format(
        names([*table.key, *columns_of(table)]),
        target(table.name),
        sql.SQL(" AND ").join([_behind(table, after), *(_one_of(name, values) for name, values in where.items())]),
        names(table.key),
        limit or None,
    )
    with conn.cursor("replayed_rows", row_factory=dict_row) as cursor:
        cursor.itersize = AT_ONCE
        yield from cursor.execute(query)


def _behind(table: Table, after: Key | None) -> sql.Composable:
    if after is None:
        return sql.SQL("true")
    return sql.SQL("({}) > ({})").format(names(table.key), sql.SQL(", ").join(map(sql.Literal, after)))


def _one_of(name: str, values: Sequence[str]) -> sql.Composable:
    return sql.SQL("{}::text = ANY({})").format(sql.Identifier(name), list(values))


def prepare_changes(conn: Conn, table: Table) -> None:
    """What `changes` looks up is found by an index."""
    conn.execute(sql.SQL("CREATE INDEX ON {} ({})").format(target(TOUCHES), names(table.key)))
    for name in (BEFORE, table.name, TOUCHES):
        conn.execute(sql.SQL("ANALYZE {}").format(target(name)))


def counted_changes(conn: Conn, table: Table) -> dict[str, int]:
    """How many rows were added, removed and changed from the moment before to the other."""
    found = count_differences(conn, table, target(BEFORE), target(table.name), columns_of(table))
    return {"added": found["added"], "removed": found["missing"], "changed": found["changed"]}


def changes(conn: Conn, table: Table, where: Mapping[str, Sequence[str]] = NOWHERE, limit: int = 0) -> Iterator[Row]:
    """What became of so many rows, or with 0 of all of them, by key: the columns that differ, and which events did it.

    `where` names key columns. A row without events changed because time passed.
    """
    found = differences(conn, table, target(BEFORE), target(table.name), columns_of(table), ordered=True)
    left = islice((one for one in found if _is_wanted(one, where)), limit or None)
    while some := list(islice(left, AT_ONCE)):
        events = _events(conn, table, [_key(one) for one in some])
        for one in some:
            total, first = events.get(_key(one), (0, []))
            kind = "removed" if one.kind == "missing" else one.kind
            told = {"kind": kind, "key": dict(one.key), "before": one.before, "after": one.after}
            yield {**told, "because": "events" if total else "time", "events_total": total, "events": first}


def _key(one: Difference) -> Key:
    return tuple(one.key.values())


def _is_wanted(one: Difference, where: Mapping[str, Sequence[str]]) -> bool:
    return all(str(one.key[name]) in values for name, values in where.items())


def _events(conn: Conn, table: Table, keys: Sequence[Key]) -> Mapping[Key, tuple[int, list[Row]]]:
    """Of rows: how many events count at one moment only that touched them, and what the first of these are.

    Where none did itself, those before which a later event of the same customer did something else.
    """
    kinds = (sql.SQL("%s::{}[]").format(sql.SQL(kind.split()[0])) for kind in table.key.values())
    query = sql.SQL(
        """SELECT {key}, position, n FROM (
            SELECT {key}, position, count(*) OVER w AS n, row_number() OVER (w ORDER BY position) AS r
            FROM (SELECT DISTINCT {key}, position FROM (
                SELECT {key}, position, itself, bool_or(itself) OVER (PARTITION BY {key}) AS any
                FROM {touches} JOIN unnest({kinds}) AS wanted ({key}) USING ({key})) touched
                WHERE itself OR NOT touched.any) one
            WINDOW w AS (PARTITION BY {key})) numbered WHERE r <= {most} ORDER BY position"""
    ).format(key=names(table.key), touches=target(TOUCHES), kinds=sql.SQL(", ").join(kinds), most=TOLD)
    with conn.cursor(row_factory=tuple_row) as cursor:
        touched = cursor.execute(query, by_column(keys)).fetchall()
    told = {event.position: told_of(event) for event in _at(conn, sorted({row[-2] for row in touched}))}
    found: dict[Key, tuple[int, list[Row]]] = defaultdict(lambda: (0, []))
    for *key, event, n in touched:
        found[tuple(key)] = n, [*found[tuple(key)][1], told[event]]
    return found


def _at(conn: Conn, positions: Sequence[int]) -> list[Recorded]:
    query = f"SELECT {EVENT_COLUMNS} FROM kehu.stored_events WHERE notification_id = ANY(%s)"  # noqa: S608
    with conn.cursor(row_factory=tuple_row) as cursor:
        return [to_recorded(*row) for row in cursor.execute(query, (list(positions),)).fetchall()]


def told_of(event: Recorded) -> Row:
    """Where an event is found, and its two times."""
    return {
        "position": event.position,
        "stream": event.originator_id,
        "name": event.name,
        "happened_at": event.meta.occurred_at,
        "recorded_at": event.recorded_at,
        "source": event.meta.source,
        "id": event.meta.event_id,
    }
