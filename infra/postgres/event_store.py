"""The library's recorder with our transaction: positions, inbox, parked messages, dead letters and events, by COPY.

The order matters: the compare-and-swap of Kafka positions first, so that a worker that lost its partition writes
nothing; the row of the log's counter last, since it is the one lock that all writers share. It is transactional
(a sequence leaves holes when a transaction rolls back), so positions are gapless and in the order of commits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresFactory
from psycopg.rows import tuple_row

from domain.ports import Batch, DeadLetter, Fenced, Move, Parked

EventRow = tuple[str, int, str, bytes, str | None]
"""Stream, version, topic, state, customer id."""

CHANNEL = "kehu_events"
_MESSAGE = "topic, topic_id, partition, kafka_offset, kafka_timestamp, key, value, header_names, header_values"
_MESSAGE_TYPES = ["text", "text", "int4", "int8", "int8", "bytea", "bytea", "text[]", "bytea[]"]


def write(conn: "psycopg.Connection[Any]", rows: Sequence[EventRow], batch: Batch | None = None) -> int | None:
    """Write one batch in the caller's transaction; returns the last position, or None when there are no events.

    Raises Fenced when a position is not the expected one, UniqueViolation when a version or inbox key is taken.
    """
    with conn.cursor(row_factory=tuple_row) as cur:
        if batch is not None:
            _write_around(cur, batch)
        return _write_events(cur, rows) if rows else None


def _write_events(cur: "psycopg.Cursor[tuple[Any, ...]]", rows: Sequence[EventRow]) -> int:
    cur.execute(
        "UPDATE kehu.log_head SET n = n + %s, recorded_at = greatest(recorded_at, clock_timestamp())"
        " RETURNING n, recorded_at",
        (len(rows),),
    )
    last, recorded_at = cast("tuple[int, datetime]", cur.fetchone())
    columns = "originator_id, originator_version, topic, state, notification_id, recorded_at, customer_id"
    with cur.copy(f"COPY kehu.stored_events ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text", "int8", "text", "bytea", "int8", "timestamptz", "text"])
        for position, row in enumerate(rows, last - len(rows) + 1):
            copy.write_row((*row[:4], position, recorded_at, row[4]))
    cur.execute(f"NOTIFY {CHANNEL}")
    return last


def _write_around(cur: "psycopg.Cursor[tuple[Any, ...]]", batch: Batch) -> None:
    _move(cur, batch.moves)
    if batch.inbox:
        with cur.copy("COPY kehu.inbox (key, content, stream) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["bytea", "bytea", "text"])
            for entry in batch.inbox:
                copy.write_row((entry.key, entry.content, entry.stream))
    if batch.unpark:
        cur.execute("DELETE FROM kehu.parked WHERE seq = ANY(%s)", (batch.unpark,))
    for seq, at in batch.delay:
        cur.execute("UPDATE kehu.parked SET next_try_at = %s, tries = tries + 1 WHERE seq = %s", (at, seq))
    if batch.park:
        _copy_parked(cur, batch.park)
    if batch.dead:
        _copy_dead(cur, batch.dead)
    for snapshot in batch.snapshots:
        cur.execute(
            "INSERT INTO kehu.snapshots (stream, version, kind, state) VALUES (%s, %s, %s, %s) ON CONFLICT (stream)"
            " DO UPDATE SET version = excluded.version, kind = excluded.kind, state = excluded.state",
            (snapshot.stream, snapshot.version, snapshot.kind, snapshot.state),
        )


def _move(cur: "psycopg.Cursor[tuple[Any, ...]]", moves: Sequence[Move]) -> None:
    if not moves:
        return
    ordered = sorted(moves, key=lambda m: (m.partition.topic_id, m.partition.number))
    cur.execute(
        "UPDATE kehu.positions p SET next_offset = m.following, appended = p.appended + m.appended,"
        " duplicate = p.duplicate + m.duplicate, parked = p.parked + m.parked, dead = p.dead + m.dead,"
        " updated_at = clock_timestamp()"
        " FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],"
        " %s::bigint[]) AS m (topic_id, number, expected, following, appended, duplicate, parked, dead)"
        " WHERE p.topic_id = m.topic_id AND p.partition = m.number AND p.next_offset = m.expected",
        (
            [m.partition.topic_id for m in ordered],
            [m.partition.number for m in ordered],
            [m.expected for m in ordered],
            [m.next_offset for m in ordered],
            [m.appended for m in ordered],
            [m.duplicate for m in ordered],
            [m.parked for m in ordered],
            [m.dead for m in ordered],
        ),
    )
    if cur.rowcount != len(moves):
        raise Fenced(f"{len(moves) - cur.rowcount} of {len(moves)} partitions moved elsewhere")


def _message_values(of: Parked | DeadLetter) -> tuple[object, ...]:
    message = of.message
    partition = message.partition
    names = [_text(name) for name, _ in message.headers]
    values = [value for _, value in message.headers]
    place = (partition.topic, partition.topic_id, partition.number, message.offset, message.timestamp_ms)
    return (*place, message.key, message.value, names, values)


def _copy_parked(cur: "psycopg.Cursor[tuple[Any, ...]]", parked: Sequence[Parked]) -> None:
    own = "stream, rule, detail, parked_at, expires_at, next_try_at, tries"
    with cur.copy(f"COPY kehu.parked ({_MESSAGE}, {own}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([*_MESSAGE_TYPES, "text", "text", "text", *["timestamptz"] * 3, "int4"])
        for one in parked:
            copy.write_row(
                (
                    *_message_values(one),
                    *(one.stream, one.rule, _text(one.detail)),
                    *(one.parked_at, one.expires_at, one.next_try_at, one.tries),
                )
            )


def _copy_dead(cur: "psycopg.Cursor[tuple[Any, ...]]", dead: Sequence[DeadLetter]) -> None:
    own = "rule, detail, stream, source, event_id, died_at"
    with cur.copy(f"COPY kehu.dead_letters ({_MESSAGE}, {own}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([*_MESSAGE_TYPES, *["text"] * 5, "timestamptz"])
        for one in dead:
            copy.write_row(
                (*_message_values(one), one.rule, _text(one.detail), one.stream, one.source, one.event_id, one.died_at)
            )


def _text(value: str) -> str:
    """PostgreSQL's text cannot hold NUL."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class KehuRecorder(PostgresApplicationRecorder):
    """The library's application recorder on our table: COPY, and gapless notification ids."""

    def __init__(self, datastore: Any, *, events_table_name: str = "stored_events") -> None:
        # The table is one for all applications of this library; its name is part of our schema.
        super().__init__(datastore, events_table_name="stored_events")
        self.channel_name = CHANNEL

    def create_table(self) -> None:
        """Nothing: the schema comes from the migrations."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        if not stored_events:
            return []
        rows = [(str(e.originator_id), e.originator_version, e.topic, e.state, None) for e in stored_events]
        with self.datastore.get_connection() as conn, conn.transaction():
            last = write(conn, rows, kwargs.get("batch"))
        assert last is not None
        return list(range(last - len(rows) + 1, last + 1))


class Factory(PostgresFactory):
    """What `PERSISTENCE_MODULE=infra.postgres.event_store` gives to an application of the library."""

    application_recorder_class = KehuRecorder
