"""How rows are asked for as plain dicts, over any connection: all at once, or as they are read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import count
from typing import Any

import psycopg
from psycopg.rows import dict_row

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

AT_ONCE = 1000
"""Rows that a stream fetches at once."""
_numbers = count(1)


def matching(chosen: Mapping[str, object]) -> str:
    """A condition that each of these columns has its value, or one of a list; those without are not asked about."""
    conditions = (
        f"{name} = ANY(%({name})s)" if isinstance(value, list) else f"{name} = %({name})s"
        for name, value in chosen.items()
        if value is not None
    )
    return " AND ".join(conditions) or "true"


def streamed(conn: Connection, query: str, values: Mapping[str, object] | None = None) -> Iterator[Row]:
    """The rows of a query as they are read, in one transaction: no more than a portion of them is in memory."""
    with (
        conn.transaction() if conn.autocommit else nullcontext(),
        conn.cursor(f"kehu_{next(_numbers)}", row_factory=dict_row) as cursor,
    ):
        cursor.itersize = AT_ONCE
        yield from cursor.execute(query.encode(), values)


def dict_rows(conn: Connection, query: str, values: Mapping[str, object] | Sequence[object] | None = None) -> list[Row]:
    """All rows of a query that gives few."""
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute(query.encode(), values).fetchall()
