"""Rows for tables of read models as COPY takes them: into a table at once, or as bytes that another process writes."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from io import BytesIO
from operator import itemgetter
from typing import Any, LiteralString, NamedTuple

import orjson
import psycopg
from psycopg import sql
from psycopg.copy import FileWriter

from infra.postgres.builds import names
from projections.declare import Change, Changed, Table

_COPIED_AS = {"double": "float8", "jsonb": "text"}
"""JSON is on the wire what text is, behind one byte for its version; the driver copies text several times faster."""
ADDED = ("position", "changed_at")
"""Columns of every table beside those that its projection declares."""
Conn = psycopg.Connection[Any]


class Piece(NamedTuple):
    """Rows of one table in the binary format of COPY, made by one process and written by another."""

    table: str
    counters: bool
    """Whether they are what counters grew by, to be added up."""
    data: bytes


def copy_rows(conn: Conn, target: sql.Composable, table: Table, changed: Iterable[Change], at: datetime) -> None:
    """Copy rows, changed at this moment, into a table that has none of their keys."""
    copy_values(conn, target, table, _whole(table, changed), at)


def copy_values(conn: Conn, target: sql.Composable, table: Table, rows: Iterable[Sequence[Any]], at: datetime) -> None:
    """Copy rows that are whole: key, columns and position, in this order; JSON as the binary protocol has it."""
    with conn.cursor() as cursor, cursor.copy(_copy(target, table)) as writer:
        _write(writer, table, rows, at)


def write_new(conn: Conn, schema: str, table: Table, changed: Changed, at: datetime) -> None:
    """Copy rows that were never written before; counters wait in `incoming` until they are added up."""
    for counters, rows in _new(table, changed):
        copy_values(conn, _target(conn, schema, table, counters), table, rows, at)


def pieces(conn: Conn, table: Table, changed: Changed, at: datetime) -> Iterator[Piece]:
    """The same rows for another process, which writes them with `write_piece`. The connection is not asked."""
    for counters, rows in _new(table, changed):
        kept = BytesIO()
        with conn.cursor() as cursor, psycopg.Copy(cursor, binary=True, writer=FileWriter(kept)) as writer:
            _write(writer, table, rows, at)
        yield Piece(table.name, counters, kept.getvalue())


def write_piece(conn: Conn, schema: str, table: Table, piece: Piece) -> None:
    """Write what `pieces` made of rows of this table."""
    copy = _copy(_target(conn, schema, table, piece.counters), table)
    with conn.cursor() as cursor, cursor.copy(copy) as writer:
        writer.write(piece.data)


def _new(table: Table, changed: Changed) -> Iterator[tuple[bool, Iterable[Sequence[Any]]]]:
    """Whole rows that were never written before, each with whether they are counters."""
    if changed.added:
        yield False, _whole(table, changed.added)
    if changed.appended:
        yield False, changed.appended
    if changed.summed:
        yield True, _whole(table, changed.summed)


def _target(conn: Conn, schema: str, table: Table, counters: bool) -> sql.Identifier:
    return incoming(conn, schema, table) if counters else sql.Identifier(schema, table.name)


def _whole(table: Table, changed: Iterable[Change]) -> Iterator[Sequence[Any]]:
    first, *others = table.columns
    values = itemgetter(first, *others) if others else lambda row: (row[first],)
    documents = [len(table.key) + i for i, kind in enumerate(table.columns.values()) if kind.startswith("jsonb")]

    def row_of(change: Change) -> Sequence[Any]:
        key, position, row = change
        whole = (*key, *values(row), position)
        if not documents:
            return whole
        with_documents = list(whole)
        for i in documents:
            if whole[i] is not None:
                with_documents[i] = f"\x01{orjson.dumps(whole[i]).decode()}"
        return with_documents

    return map(row_of, changed)


def _copy(target: sql.Composable, table: Table) -> sql.Composed:
    columns = names([*table.key, *table.columns, *ADDED])
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, columns)


def _write(writer: psycopg.Copy, table: Table, rows: Iterable[Sequence[Any]], at: datetime) -> None:
    kinds = [kind.split()[0].partition("(")[0] for kind in (*table.key.values(), *table.columns.values())]
    writer.set_types([_COPIED_AS.get(kind, kind) for kind in kinds] + ["int8", "timestamptz"])
    write_row = writer.write_row
    for row in rows:
        write_row((*row, at))


def add_up_all(conn: Conn, schema: str, tables: Iterable[Table]) -> None:
    """Add up what waits for the summed ones of these tables."""
    for table in tables:
        if table.summed:
            incoming(conn, schema, table)
            add_up(conn, schema, table)


def add_up(conn: Conn, schema: str, table: Table) -> None:
    """Add what was copied into `incoming` in this transaction to a summed table."""

    def each(form: LiteralString) -> sql.Composed:
        return sql.SQL(", ").join(sql.SQL(form).format(sql.Identifier(column)) for column in table.columns)

    # In the order of keys, since two slices of a build may do so at the same time.
    conn.execute(
        sql.SQL(
            "INSERT INTO {target} AS t ({cols}) SELECT {key}, {sums}, max(position), max(changed_at) FROM {incoming}"
            " GROUP BY {key} ORDER BY {key} ON CONFLICT ({key}) DO UPDATE SET {added},"
            " position = greatest(t.position, excluded.position), changed_at = excluded.changed_at"
        ).format(
            target=sql.Identifier(schema, table.name),
            incoming=_incoming(schema, table),
            cols=names([*table.key, *table.columns, *ADDED]),
            key=names(table.key),
            sums=each("sum({0})"),
            added=each("{0} = t.{0} + excluded.{0}"),
        )
    )


def incoming(conn: Conn, schema: str, table: Table) -> sql.Identifier:
    """A table of this connection with the columns of another one, made if it is missing; a commit empties it."""
    name, target = _incoming(schema, table), sql.Identifier(schema, table.name)
    conn.execute(sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(name, target))
    return name


def _incoming(schema: str, table: Table) -> sql.Identifier:
    return sql.Identifier(f"incoming_{schema}_{table.name}"[:63])
