"""One case, from its stream: it stands as the events say that count at a moment."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg

from domain.complaint import stream_name
from domain.values import Recorded
from infra.errors import KehuError
from infra.postgres import data_keys
from infra.postgres.mapper import EVENT_COLUMNS, read_rows
from infra.postgres.past import Moment

_EVENTS = f"""SELECT {EVENT_COLUMNS} FROM kehu.stored_events WHERE originator_id = %(stream)s
    ORDER BY originator_version"""  # noqa: S608


class UnknownCase(KehuError):
    """No case has this id at that time. Check it with `kehu show cases`, or look for its message with `kehu trace`."""


def events_of(conn: psycopg.Connection[dict[str, Any]], case: str, moment: Moment) -> Sequence[Recorded]:
    """The events of a case that had happened, and were recorded, by then, oldest first. Raises UnknownCase."""
    rows = conn.execute(_EVENTS, {"stream": stream_name(case)}).fetchall()
    if moment.known_by is not None:
        rows = [row for row in rows if row["recorded_at"] <= moment.known_by]
    keys = data_keys.for_reading(conn.info.dsn)
    events = read_rows([tuple(row.values()) for row in rows], partial(keys.known, conn))
    events = [event for event in events if event.meta.occurred_at <= moment.happened_by]
    if not events or events[0].originator_version != 1:
        raise UnknownCase(case)
    return events
