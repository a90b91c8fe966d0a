"""Who read personal data: written before an answer goes out, and listed for auditors."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
import psycopg
from psycopg.rows import tuple_row

from domain.administration import ReadsRecorded, stream_name
from infra.postgres.acts import record as record_act
from infra.postgres.querying import Row, matching, streamed

AT_ONCE = 10_000
"""Reads that one act covers at most."""
COLUMNS = (
    *("at", "subject", "client", "method", "path", "query", "purpose", "customer_id", "status", "position"),
    "answered_rows",
)
"""All but the id, which nobody chooses."""
_COLUMNS = ", ".join(COLUMNS)
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


def cover(conn: "psycopg.Connection[Any]", at: datetime) -> int:
    """Put the reads since the last time under the proof of the log, as acts that hold their digest; how many reads.

    Over a connection without an open transaction.
    """
    try:
        with conn.transaction():
            conn.execute("SET LOCAL lock_timeout = '2s'")
            # Alone for a moment: whatever has an id by now is committed, or never will be.
            conn.execute("SELECT pg_advisory_xact_lock(hashtext('kehu-access-log'))")
            last = _one(conn, "SELECT max(id) FROM kehu.access_log")
    except psycopg.errors.LockNotAvailable:
        return 0  # a read takes long to be recorded: it is covered the next time
    covered = 0
    while True:
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(hashtext('kehu-reads'))")
            first = _one(conn, _COVERED, (stream_name(ReadsRecorded.area),)) + 1
            upto = _one(conn, _UPTO, (first, last, AT_ONCE))
            if not upto:
                return covered
            reads, digest = digest_of(conn, first, upto)
            record_act(conn, ReadsRecorded(by="kehu", first=first, last=upto, reads=reads, digest=digest), at)
            covered += reads


def digest_of(conn: "psycopg.Connection[Any]", first: int, last: int) -> tuple[int, str]:
    """How many reads have an id from the first to the last, and the SHA-256 over them: a line of JSON for each."""
    number, digest = 0, sha256()
    query = f"SELECT id, {_COLUMNS} FROM kehu.access_log WHERE id BETWEEN %s AND %s ORDER BY id"
    with conn.cursor("reads", row_factory=tuple_row) as cursor:
        for row in cursor.execute(query.encode(), (first, last)):
            number += 1
            digest.update(orjson.dumps(row, default=_in_utc, option=_LINE))
    return number, digest.hexdigest()


_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATETIME


def _in_utc(at: datetime) -> str:
    """The same text in every session."""
    return at.astimezone(UTC).isoformat()


def _one(conn: "psycopg.Connection[Any]", query: str, values: Sequence[object] = ()) -> int:
    """The number that a query gives, 0 for none."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(query.encode(), values or None).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


_UPTO = """SELECT max(id) FROM (SELECT id FROM kehu.access_log WHERE id BETWEEN %s AND %s ORDER BY id LIMIT %s) ids"""
_COVERED = """SELECT (convert_from(state, 'UTF8')::jsonb #>> '{data,last}')::bigint FROM kehu.stored_events
    WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1"""


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
