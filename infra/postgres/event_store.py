"""The library's recorder with our transaction: positions, inbox, parked messages, dead letters and events, by COPY.

The order matters: the compare-and-swap of Kafka positions first, so that a worker that lost its partition writes
nothing; the row of the log's counter last, since it is the one lock that all writers share. It is transactional
(a sequence leaves holes when a transaction rolls back), so positions are gapless and in the order of commits.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import psycopg
from eventsourcing import postgres as library
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder
from eventsourcing.utils import Environment, EnvType
from psycopg.rows import tuple_row

from domain.ports import Batch, Conflict, DeadLetter, Fenced, InboxEntry, Move, Parked, Partition
from infra.failpoints import reach
from infra.postgres import messages
from infra.postgres.data_keys import NONE, Keys
from infra.postgres.mapper import EVENT_COLUMNS, KehuMapper, OwnedEvent
from infra.postgres.messages import MESSAGE_COLUMNS

EventRow = tuple[str, int, str, bytes, str | None]
"""Stream, version, topic, state, customer id."""

CHANNEL = "kehu_events"
_WAKE = """UPDATE kehu.parked p SET next_try_at = parked_at
    FROM unnest(%s::text[]) AS changed (stream) CROSS JOIN LATERAL (SELECT stream, seq FROM kehu.parked q
        WHERE (q.stream, q.seq) > (changed.stream, 0) ORDER BY q.stream, q.seq LIMIT 1) AS oldest
    WHERE oldest.stream = changed.stream AND p.seq = oldest.seq AND p.next_try_at IS NULL"""
"""What waits behind others has no next try until it is the oldest of its queue."""
# Not a lock for each queue: a batch may change thousands, and the server has room for a few thousand locks in all.
_LOCK_QUEUES = """SELECT pg_advisory_xact_lock(hashtext('kehu-queues'), part) FROM (
        SELECT DISTINCT hashtext(stream) & 63 AS part FROM unnest(%s::text[]) AS changed (stream)
        ORDER BY part) AS parts"""
_MESSAGE_TYPES = ["text", "text", "int4", "int8", "int8", "bytea", "bytea", "text[]", "bytea[]", "text"]


def write(
    conn: "psycopg.Connection[Any]", rows: Sequence[EventRow], batch: Batch | None = None, keys: Keys = NONE
) -> int | None:
    """Write one batch in the caller's transaction; returns the last position, or None when there are no events.

    `keys` are those of all `messages.subjects` of the batch; messages are kept encrypted under them.
    Raises Fenced when a position is not the expected one, Conflict when a parked message is no longer there, and
    UniqueViolation when a version or an identity is taken. Every partition may be moved once in a batch.
    """
    with conn.cursor(row_factory=tuple_row) as cur:
        if batch is not None:
            _write_around(cur, batch, keys)
        last = _write_events(cur, rows) if rows else None
        reach("committing", conn)
        return last


def _write_events(cur: "psycopg.Cursor[tuple[Any, ...]]", rows: Sequence[EventRow]) -> int:
    # The moment as microseconds since 2000 is what timestamptz is in binary; int8 is written several times faster.
    cur.execute(
        "UPDATE kehu.log_head SET n = n + %s, recorded_at = greatest(recorded_at, clock_timestamp())"
        " RETURNING n, (extract(epoch FROM recorded_at - timestamptz '2000-01-01 00:00Z') * 1000000)::bigint",
        (len(rows),),
    )
    last, recorded_at = cast("tuple[int, int]", cur.fetchone())
    reach("numbered", cur.connection)
    half = last - len(rows) // 2
    with cur.copy(f"COPY kehu.stored_events ({EVENT_COLUMNS}, customer_id) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text", "int8", "text", "bytea", "int8", "int8", "text"])
        for position, (stream, version, topic, state, customer) in enumerate(rows, last - len(rows) + 1):
            copy.write_row((stream, version, topic, state, position, recorded_at, customer))
            if position == half:
                reach("copying", cur.connection)
    cur.execute(f"NOTIFY {CHANNEL}")
    return last


def _write_around(cur: "psycopg.Cursor[tuple[Any, ...]]", batch: Batch, keys: Keys) -> None:
    places = _move(cur, batch.moves)
    reach("moved", cur.connection)
    if batch.inbox:
        _copy_inbox(cur, batch.inbox, places)
        reach("remembered", cur.connection)
    changed = {one.stream for one in batch.park}
    if batch.unpark:
        cur.execute("DELETE FROM kehu.parked WHERE seq = ANY(%s) RETURNING stream", (batch.unpark,))
        _all_there(cur, len(batch.unpark))
        changed.update(stream for (stream,) in cur.fetchall())
    if batch.delay:
        cur.execute(
            "UPDATE kehu.parked p SET next_try_at = d.at, tries = tries + 1"
            " FROM unnest(%s::bigint[], %s::timestamptz[]) AS d (seq, at) WHERE p.seq = d.seq",
            ([seq for seq, _ in batch.delay], [at for _, at in batch.delay]),
        )
        _all_there(cur, len(batch.delay))
    if batch.park:
        _copy_parked(cur, batch.park, keys)
    if changed:
        # Whoever changes the same queue waits here, so that the last of them sees which message is the oldest by then.
        cur.execute(_LOCK_QUEUES, (list(changed),))
        cur.execute(_WAKE, (list(changed),))
    if batch.dead:
        _copy_dead(cur, batch.dead, keys)
    for snapshot in batch.snapshots:
        if (kept := messages.hidden_snapshot(snapshot, keys)) is not None:
            cur.execute(
                "INSERT INTO kehu.snapshots (stream, version, kind, state, hidden_for) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (stream) DO UPDATE SET version = excluded.version, kind = excluded.kind,"
                " state = excluded.state, hidden_for = excluded.hidden_for",
                (snapshot.stream, snapshot.version, snapshot.kind, *kept),
            )


def _all_there(cur: "psycopg.Cursor[tuple[Any, ...]]", expected: int) -> None:
    if cur.rowcount != expected:
        raise Conflict(f"{expected - cur.rowcount} of {expected} parked messages left their queue meanwhile")


def _move(cur: "psycopg.Cursor[tuple[Any, ...]]", moves: Sequence[Move]) -> Mapping[Partition, int]:
    """Move positions; returns the number under which the inbox refers to each partition."""
    if not moves:
        return {}
    # All writers lock in the same order, or a worker and the former owner of its partitions could wait for each other.
    cur.execute(
        "WITH wanted AS (SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[],"
        " %s::bigint[], %s::bigint[], %s::bigint[])"
        " AS m (topic_id, partition, expected, following, appended, duplicate, parked, dead)),"
        " m AS (SELECT wanted.* FROM wanted JOIN kehu.positions p USING (topic_id, partition)"
        " WHERE coalesce(wanted.expected, p.next_offset) = p.next_offset ORDER BY topic_id, partition FOR UPDATE OF p)"
        " UPDATE kehu.positions p SET next_offset = coalesce(m.following, p.next_offset),"
        " appended = p.appended + m.appended, duplicate = p.duplicate + m.duplicate,"
        " parked = p.parked + m.parked, dead = p.dead + m.dead, updated_at = clock_timestamp()"
        " FROM m WHERE p.topic_id = m.topic_id AND p.partition = m.partition"
        " RETURNING p.topic_id, p.partition, p.place",
        (
            [m.partition.topic_id for m in moves],
            [m.partition.number for m in moves],
            [m.expected for m in moves],
            [m.next_offset for m in moves],
            [m.appended for m in moves],
            [m.duplicate for m in moves],
            [m.parked for m in moves],
            [m.dead for m in moves],
        ),
    )
    if cur.rowcount != len(moves):
        raise Fenced(f"{len(moves) - cur.rowcount} of {len(moves)} partitions moved elsewhere")
    places = {(topic_id, number): place for topic_id, number, place in cur.fetchall()}
    return {m.partition: places[m.partition.topic_id, m.partition.number] for m in moves}


def _copy_inbox(
    cur: "psycopg.Cursor[tuple[Any, ...]]", inbox: Sequence[InboxEntry], places: Mapping[Partition, int]
) -> None:
    columns = "key, content, stream, place, kafka_offset, version"
    partition, place = None, None
    with cur.copy(f"COPY kehu.inbox ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["bytea", "bytea", "text", "int4", "int8", "int4"])
        for entry in inbox:
            if entry.partition is not partition:  # they come partition by partition
                partition = entry.partition
                place = places[partition] if partition else None
            copy.write_row((entry.identity, entry.content, entry.stream, place, entry.offset, entry.version))


def _message_values(of: Parked | DeadLetter, keys: Keys) -> tuple[object, ...]:
    message, whose = messages.hidden(of, keys)
    partition = message.partition
    names = [_text(name) for name, _ in message.headers]
    values = [value for _, value in message.headers]
    place = (partition.topic, partition.topic_id, partition.number, message.offset, message.timestamp_ms)
    return (*place, message.key, message.value, names, values, whose)


def _copy_parked(cur: "psycopg.Cursor[tuple[Any, ...]]", parked: Sequence[Parked], keys: Keys) -> None:
    own = "stream, rule, detail, parked_at, expires_at, next_try_at, tries, identity"
    with cur.copy(f"COPY kehu.parked ({MESSAGE_COLUMNS}, {own}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([*_MESSAGE_TYPES, "text", "text", "text", *["timestamptz"] * 3, "int4", "bytea"])
        for one in parked:
            copy.write_row(
                (
                    *_message_values(one, keys),
                    *(one.stream, one.rule, _text(one.detail)),
                    *(one.parked_at, one.expires_at, one.next_try_at, one.tries, one.identity),
                )
            )


def _copy_dead(cur: "psycopg.Cursor[tuple[Any, ...]]", dead: Sequence[DeadLetter], keys: Keys) -> None:
    own = "rule, detail, stream, source, event_id, died_at"
    with cur.copy(f"COPY kehu.dead_letters ({MESSAGE_COLUMNS}, {own}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([*_MESSAGE_TYPES, *["text"] * 5, "timestamptz"])
        for one in dead:
            told = [
                None if t is None else _text(t) for t in (one.rule, one.detail, one.stream, one.source, one.event_id)
            ]
            copy.write_row((*_message_values(one, keys), *told, one.died_at))


def _text(value: str) -> str:
    """PostgreSQL's text holds neither NUL nor half of a surrogate pair."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


class KehuRecorder(library.PostgresApplicationRecorder):
    """The library's application recorder on our table: COPY, and gapless notification ids."""

    def __init__(self, datastore: Any, *, events_table_name: str = "stored_events") -> None:
        # The table is one for all applications of this library; its name is part of our schema.
        super().__init__(datastore, events_table_name="stored_events")
        self.channel_name = CHANNEL

    def create_table(self) -> None:
        """Nothing: the schema comes from the migrations."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Store events, and around them what the keyword `batch` holds, in one transaction; returns their positions.

        The events are the ones of `stored_events`; those of the batch are not read. It has no keys, so a batch with
        messages to keep is a KeyError. Raises the library's
        IntegrityError for a version or an identity that is taken. It does not try again by itself, as the stock
        recorder does: after a lost connection only the positions tell whether the transaction was committed.
        """
        batch: Batch | None = kwargs.get("batch")
        if not stored_events and batch is None:
            return None
        rows = [
            (
                *(str(e.originator_id), e.originator_version, e.topic, e.state),
                e.customer_id if isinstance(e, OwnedEvent) else None,
            )
            for e in stored_events
        ]
        with self.datastore.get_connection() as conn, conn.transaction():
            last = write(conn, rows, batch)
        return None if last is None else list(range(last - len(rows) + 1, last + 1))


class Factory(library.PostgresFactory):
    """What `PERSISTENCE_MODULE=infra.postgres.event_store` gives to an application of the library.

    Schema and type of the originator ids are ours and need no variable; tables come from the migrations.
    """

    application_recorder_class = KehuRecorder

    def __init__(self, env: Environment | EnvType | None) -> None:
        name = env.name if isinstance(env, Environment) else ""
        ours = {self.POSTGRES_SCHEMA: "kehu", self.ORIGINATOR_ID_TYPE: "text", self.CREATE_TABLE: "no"}
        super().__init__(Environment(name, {**(env or {}), **ours}))

    def mapper(self, transcoder: Transcoder | None = None, mapper_class: Any = None) -> Mapper[Any]:
        """Ours: names and versions from the registry, and upcasters."""
        return super().mapper(transcoder, mapper_class or KehuMapper)
