"""One case, from its stream: it stands as the events say that were stored by a moment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from domain.complaint import stream_name
from domain.values import Recorded
from infra.errors import KehuError
from infra.postgres.mapper import to_recorded

_EVENTS = """SELECT originator_id, originator_version, topic, state, notification_id, recorded_at
    FROM kehu.stored_events WHERE originator_id = %(stream)s AND recorded_at <= %(at)s ORDER BY originator_version"""


class UnknownCase(KehuError):
    """No case has this id at that time. Check it with `kehu show cases`, or look for its message with `kehu trace`."""


def events_of(conn: psycopg.Connection[dict[str, Any]], case: str, at: datetime) -> Sequence[Recorded]:
    """The events of a case that were stored by a moment, oldest first. Raises UnknownCase."""
    rows = conn.execute(_EVENTS, {"stream": stream_name(case), "at": at}).fetchall()
    if not rows:
        raise UnknownCase(case)
    return [
        to_recorded(
            row["originator_id"],
            row["originator_version"],
            row["topic"],
            bytes(row["state"]),
            row["notification_id"],
            row["recorded_at"],
        )
        for row in rows
    ]
