"""A digest of the rows of a table: the same for the same rows, in whatever order they lie, on whatever server."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from infra.postgres.builds import names

# The hashes of all rows, sorted, hashed again; in 256 parts, so that no more than a part of them is in memory.
_DIGEST = """WITH hashed AS (SELECT sha256(convert_to(ROW({columns})::text, 'UTF8')) AS h FROM {target}),
    parts AS (SELECT get_byte(h, 0) AS part, count(*) AS n, sha256(string_agg(h, ''::bytea ORDER BY h)) AS together
        FROM hashed GROUP BY 1)
    SELECT coalesce(sum(n), 0)::bigint,
        encode(sha256(coalesce(string_agg(together, ''::bytea ORDER BY part), ''::bytea)), 'hex') FROM parts"""


def digest(conn: "psycopg.Connection[Any]", target: sql.Composable, columns: Iterable[str]) -> tuple[int, str]:
    """How many rows there are, and the SHA-256 over these columns as PostgreSQL writes them; times as in UTC.

    The connection's time zone must be UTC.
    """
    query = sql.SQL(_DIGEST).format(columns=names(columns), target=target)
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query).fetchone()
    assert row is not None
    return row[0], row[1]
