"""Holds the access log against the acts of the log that cover it."""

from collections.abc import Iterator
from typing import Any

import psycopg

from domain.administration import ReadsRecorded, stream_name
from domain.audit import Finding
from domain.errors import DomainError
from infra.postgres.access_log import digest_of
from infra.postgres.mapper import EVENT_COLUMNS, to_recorded

_ACTS = f"""SELECT {EVENT_COLUMNS} FROM kehu.stored_events WHERE originator_id = %s
    ORDER BY originator_version"""  # noqa: S608


def reads_findings(conn: "psycopg.Connection[Any]") -> Iterator[Finding]:
    """Acts whose reads are not those that were recorded, or that leave reads out; inside a transaction."""
    following = 1
    if conn.execute("SELECT FROM kehu.access_log WHERE id < 1 LIMIT 1").fetchall():
        yield Finding("reads-changed", 0, of="the access log, before its first id")
    for row in conn.execute(_ACTS, (stream_name(ReadsRecorded.area),)).fetchall():
        position = row[4]
        said = _said(row)
        if said is None:
            yield Finding("reads-changed", position)
            continue
        if said.first != following or digest_of(conn, said.first, said.last) != (said.reads, said.digest):
            yield Finding("reads-changed", position)
        following = said.last + 1


def _said(row: "tuple[Any, ...]") -> ReadsRecorded | None:
    """The act; None for what is none, or cannot be read any more."""
    try:
        event = to_recorded(*row).event
    except (DomainError, ValueError):
        return None
    return event if isinstance(event, ReadsRecorded) else None
