"""Holds the access log against the acts of the log that cover it."""

from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg

from domain.administration import ReadsRecorded, stream_name
from domain.audit import Finding
from infra.postgres.access_log import digest_of
from infra.postgres.mapper import to_recorded

_ACTS = """SELECT originator_id, originator_version, topic, state, notification_id FROM kehu.stored_events
    WHERE originator_id = %s ORDER BY originator_version"""


def reads_findings(conn: "psycopg.Connection[Any]") -> Iterator[Finding]:
    """Acts whose reads are not those that were recorded, or that leave reads out; inside a transaction."""
    following = 1
    for row in conn.execute(_ACTS, (stream_name(ReadsRecorded.area),)).fetchall():
        position = row[4]
        try:
            said: Any = to_recorded(*row).event
        except msgspec.ValidationError:
            continue  # the walk over the log says that it was changed
        if said.first != following or digest_of(conn, said.first, said.last) != (said.reads, said.digest):
            yield Finding("reads-changed", position)
        following = said.last + 1
