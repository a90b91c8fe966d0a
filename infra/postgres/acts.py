"""Tells in the log what was done to the system, in the transaction in which it is done."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
from msgspec.structs import replace
from psycopg.rows import tuple_row

from domain import registry
from domain.administration import SOURCE, Act, ReadsRecorded, stream_name
from domain.values import BANK, Meta, Position, Recorded
from infra.postgres.mapper import to_state

_BY, _REASON = 120, 4000
"""Characters that are kept of who and why."""


def record(conn: "psycopg.Connection[Any]", act: Act, at: datetime) -> Position:
    """Append an act to the stream of its area, as the last step of the caller's transaction; its position.

    Last, since all writers of the log wait for the transaction to end. PostgreSQL adds which of its users told it.
    """
    act = replace(act, by=act.by[:_BY], reason=None if not act.reason else act.reason[:_REASON])
    registration = registry.of(act)
    stream = stream_name(act.area)
    meta = Meta(str(uuid4()), SOURCE, BANK, at)
    state = to_state(Recorded(stream, 0, act, meta, registration.name))
    with conn.cursor(row_factory=tuple_row) as cursor:
        if isinstance(act, ReadsRecorded):
            found = cursor.execute("SELECT kehu.record_reads(%s, %s)", (registration.topic, state)).fetchone()
        else:
            values = (stream, registration.topic, state)
            found = cursor.execute("SELECT kehu.record_act(%s, %s, %s)", values).fetchone()
    assert found is not None
    return Position(found[0])
