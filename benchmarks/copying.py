"""The limit of the ingest: binary COPY of the very rows that it wrote, with as many in each transaction."""

import time
from itertools import groupby
from operator import itemgetter
from typing import Any

import psycopg

from infra.postgres.mapper import EVENT_COLUMNS

COLUMNS = f"{EVENT_COLUMNS}, customer_id"
TYPES = ["text", "int8", "text", "bytea", "int8", "timestamptz", "text"]
Rows = list[tuple[Any, ...]]


def written(postgres: str) -> list[Rows]:
    """The rows of the log, as each transaction wrote them: all rows of a transaction were recorded at one moment."""
    query = f"SELECT {COLUMNS} FROM kehu.stored_events ORDER BY notification_id"
    with psycopg.connect(postgres) as conn:
        rows = conn.execute(query.encode(), binary=True).fetchall()
    return [list(group) for _, group in groupby(rows, itemgetter(5))]


def copy(postgres: str, transactions: list[Rows]) -> float:
    """Copy the rows into a table with the log's columns and indexes; seconds."""
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("CREATE TABLE copied (LIKE kehu.stored_events INCLUDING ALL)")
        conn.execute("CHECKPOINT")
        started = time.perf_counter()
        for rows in transactions:
            with (
                conn.transaction(),
                conn.cursor() as cur,
                cur.copy(f"COPY copied ({COLUMNS}) FROM STDIN (FORMAT BINARY)".encode()) as out,
            ):
                out.set_types(TYPES)
                for row in rows:
                    out.write_row(row)
        seconds = time.perf_counter() - started
        conn.execute("DROP TABLE copied")
    return seconds
