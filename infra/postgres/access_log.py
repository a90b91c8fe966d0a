"""Who read personal data: written before an answer goes out, and listed for auditors."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import psycopg

from infra.postgres.ops import Row, matching, streamed

_COLUMNS = "at, subject, client, method, path, query, purpose, customer_id, status, position, answered_rows"
_ADD = f"""INSERT INTO kehu.access_log ({_COLUMNS}) SELECT {_COLUMNS}
    FROM json_populate_recordset(NULL::kehu.access_log, %s::json)"""


@dataclass(frozen=True, slots=True)
class Access:
    """One read, or an attempt that was refused for whose data it is: who, what, why, when and what came of it."""

    at: datetime
    subject: str
    client: str | None
    method: str
    path: str
    query: str
    purpose: str | None
    customer_id: str | None
    status: int
    position: int | None
    answered_rows: int | None


def record(conn: "psycopg.Connection[Any]", accesses: Sequence[Access]) -> None:
    """Keep these reads: all of them or none."""
    conn.execute(_ADD.encode(), (orjson.dumps(accesses).decode(),))


def accesses(
    conn: "psycopg.Connection[Any]",
    *,
    subject: str | None = None,
    customers: Sequence[str] | None = None,
    since: datetime | None = None,
    before: int | None = None,
    limit: int | None = 100,
) -> Iterator[Row]:
    """The newest reads that match, of any of these customers; with `before` those before the one of this id.

    Without a limit when it is None.
    """
    chosen = {"subject": subject, "customer_id": None if customers is None else list(customers)}
    where = matching(chosen)
    where += " AND at >= %(since)s" if since is not None else ""
    where += " AND id < %(before)s" if before is not None else ""
    query = f"SELECT id, {_COLUMNS} FROM kehu.access_log WHERE {where} ORDER BY id DESC LIMIT %(limit)s"
    return streamed(conn, query, {**chosen, "since": since, "before": before, "limit": limit})
