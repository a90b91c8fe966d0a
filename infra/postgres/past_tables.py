"""Temporary tables of one connection for read models as they stood.

Nothing that others see is written. The tables have the names of the read models and hide them from this connection, so
that the same questions ask them; they are gone when it ends.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from infra.postgres import indexes
from infra.postgres.builds import make_table
from infra.postgres.copying import Piece, add_up_all, write_piece
from projections.declare import Table

SCHEMA = "pg_temp"
TOUCHES = "kehu_touches"
"""Which rows of a table events touched: the key, `position` of the event, and whether it touched the row itself."""
BEFORE = "kehu_before"
"""What a replayed table is called when it has made place for another moment."""


@contextmanager
def written(
    conn: "psycopg.Connection[Any]", tables: Sequence[Table], touches: Table | None = None, *, indexed: bool
) -> Iterator[Callable[[Piece], None]]:
    """Make the tables, and give what writes pieces into them and into `touches`, in one transaction.

    Counters are added up when it ends, and the tables have their indexes then, if they are asked for.
    """
    named = {table.name: table for table in (*tables, *([touches] if touches else ()))}
    with conn.transaction():
        conn.execute("SET LOCAL work_mem = '128MB'")
        for table in tables:
            make_table(conn, SCHEMA, table, keyed=False)
        yield lambda piece: write_piece(conn, SCHEMA, named[piece.table], piece)
        add_up_all(conn, SCHEMA, tables)
        for table in tables if indexed else ():
            for statement in indexes.statements(SCHEMA, table):
                conn.execute(statement)


def touches_of(table: Table) -> Table:
    """The table of what touched rows of this one."""
    return Table(TOUCHES, table.key, {"itself": "boolean"}, appended=True)


def make_touches(conn: "psycopg.Connection[Any]", table: Table) -> None:
    """Make it, for what is replayed at both moments."""
    with conn.transaction():
        make_table(conn, SCHEMA, touches_of(table), keyed=False)


def set_aside(conn: "psycopg.Connection[Any]", table: Table) -> None:
    """A replayed table is called BEFORE from now on, to make place for another moment."""
    target, name = sql.Identifier(SCHEMA, table.name), sql.Identifier(BEFORE)
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(target, name))
