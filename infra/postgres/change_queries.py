"""The SQL of the change feed: what it asks of a view's tables.

`t` is the row that is told. What is put together are names of our own tables and columns; values are parameters.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import orjson
from psycopg import sql

from infra.postgres.builds import Build, key_text, names
from projections.declare import Table
from projections.views import View


@cache
def changed_rows(view: View, schema: str, places: bool) -> bytes:
    """What was saved or dropped after the moment `after` and up to `upto`, in order: `most`, and ties with the last.

    With `places`, which a view must have, also those that each row has left.
    """
    table, left = view.table, sql.SQL("").format()
    if places:
        left = sql.SQL(", ({}) AS places, false AS later").format(left_places(schema, table, "after"))
    changed = sql.SQL(
        "SELECT {key} AS key, t.changed_at AS at, t.position, {row} AS row{left} FROM {table} AS t"
        " WHERE t.changed_at > %(after)s AND t.changed_at <= %(upto)s"
        " ORDER BY t.changed_at FETCH FIRST %(most)s ROWS WITH TIES"
    ).format(key=key_text(table), row=row_of(view), left=left, table=sql.Identifier(schema, table.name))
    if table.removed is None:
        return changed.as_bytes(None)
    return (
        sql.SQL(
            "SELECT * FROM (({changed}) UNION ALL (SELECT {key}, t.removed_at, %(position)s, NULL{left}"
            " FROM {removed} AS t"
            " WHERE t.removed_at > %(after)s AND t.removed_at <= %(upto)s"
            " AND NOT EXISTS (SELECT FROM {table} AS l WHERE {same})"
            " ORDER BY t.removed_at FETCH FIRST %(most)s ROWS WITH TIES){later}) AS o"
            " ORDER BY at FETCH FIRST %(most)s ROWS WITH TIES"
        )
        .format(
            changed=changed,
            key=key_text(table),
            left=left,
            removed=sql.Identifier(schema, table.removed),
            table=sql.Identifier(schema, table.name),
            same=same_key("l", "t", table),
            later=_later(schema, table, table.removed) if places else sql.SQL(""),
        )
        .as_bytes(None)
    )


def left_places(schema: str, table: Table, since: str, place: sql.Composable | None = None) -> sql.Composed:
    """The places that the row of `t` has left since a moment that is given, and `place`, as JSON."""
    noted = sql.SQL(
        "SELECT branch, segment FROM kehu.places WHERE (build, table_name, key) = ({}, {}, {}) AND left_at > {}"
    ).format(schema, table.name, key_text(table), sql.Placeholder(since))
    every = noted if place is None else sql.SQL("{} UNION ALL {}").format(noted, place)
    return sql.SQL("SELECT coalesce(json_agg(p), '[]') FROM ({}) AS p").format(every)


def _later(schema: str, table: Table, removed: str) -> sql.Composed:
    """Places that were left by rows which have changed again since `upto`, and so are not on this page.

    The next page has them as they are then, and no longer knows of this.
    """
    return sql.SQL(
        " UNION ALL (SELECT p.key, p.left_at, %(position)s, NULL,"
        " json_build_array(json_build_object('branch', p.branch, 'segment', p.segment)), true FROM kehu.places AS p"
        " WHERE (p.build, p.table_name) = ({build}, {name}) AND p.left_at > %(after)s AND p.left_at <= %(upto)s"
        " AND NOT EXISTS (SELECT FROM {table} AS t WHERE {key} = p.key AND t.changed_at <= %(upto)s)"
        " AND NOT (EXISTS (SELECT FROM {removed} AS t WHERE {key} = p.key AND t.removed_at <= %(upto)s)"
        " AND NOT EXISTS (SELECT FROM {table} AS t WHERE {key} = p.key))"
        " ORDER BY p.left_at FETCH FIRST %(most)s ROWS WITH TIES)"
    ).format(
        build=schema,
        name=table.name,
        table=sql.Identifier(schema, table.name),
        removed=sql.Identifier(schema, removed),
        key=key_text(table),
    )


def table_of(build: Build, name: str) -> sql.Identifier:
    """A table of a build."""
    return sql.Identifier(build.schema, name)


def listed(side: str, columns: Iterable[str]) -> sql.Composed:
    """These columns of one side of a query."""
    return sql.SQL(", ").join(sql.Identifier(side, column) for column in columns)


def same_key(one: str, other: str, table: Table) -> sql.Composed:
    """The condition that rows of two sides have the same key."""
    return sql.SQL("({}) = ({})").format(listed(one, table.key), listed(other, table.key))


def chosen(table: Table) -> sql.Composed:
    """The condition of the rows of `t` with one of the `keys`."""
    kinds = [sql.SQL(kind) for kind in table.key.values()]
    if len(kinds) == 1:
        return sql.SQL("{} = ANY(%(keys)s::{}[])").format(listed("t", table.key), kinds[0])
    parts = sql.SQL(", ").join(sql.SQL("(k.key::jsonb ->> {})::{}").format(n, kind) for n, kind in enumerate(kinds))
    return sql.SQL("({}) IN (SELECT {} FROM unnest(%(keys)s::text[]) AS k (key))").format(listed("t", table.key), parts)


def row_of(view: View) -> sql.Composed:
    """A row of `t` as JSON."""
    # A row of a query and not `json_build_object`, which takes a hundred arguments at most.
    return sql.SQL("row_to_json((SELECT d FROM (SELECT {}) AS d))::text").format(
        listed("t", [*view.table.key, *view.columns])
    )


def after_key(table: Table, key: str | None, given: dict[str, Any]) -> sql.Composed:
    """The condition of what follows a key in the order of keys; its parts are put into `given`."""
    if key is None:
        return sql.SQL("").format()
    values = [key] if len(table.key) == 1 else orjson.loads(key)
    given.update({f"key{i}": value for i, value in enumerate(values)})
    casts = [
        sql.SQL("{}::{}").format(sql.Placeholder(f"key{i}"), sql.SQL(kind.split()[0]))
        for i, kind in enumerate(table.key.values())
    ]
    return sql.SQL("WHERE ({}) > ({})").format(names(table.key), sql.SQL(", ").join(casts))
