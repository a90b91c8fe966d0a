"""The event log on PostgreSQL: `domain.ports.EventLog` over one connection, used by one thread."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from domain import registry
from domain.ports import Batch, Conflict, LoadedStream, Message, Parked, Partition, Snapshot
from domain.values import Position, Recorded
from infra.failpoints import reach
from infra.postgres import connection
from infra.postgres.event_store import EventRow, write
from infra.postgres.mapper import to_recorded, to_state

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

_EVENT = "e.originator_id, e.originator_version, e.topic, e.state, e.notification_id, e.recorded_at"

# Snapshots and the events after them in one statement, so that both are of one moment: another worker may replace a
# snapshot between two. The subquery with its order keeps the planner at one look into the index per stream, whatever
# it believes about a table that it has not analysed yet.
_LOAD = f"""WITH newest AS (SELECT wanted.stream, s.version, s.kind, s.state
        FROM unnest(%b::text[]) AS wanted (stream) LEFT JOIN kehu.snapshots s USING (stream))
    SELECT stream, version, kind, state, NULL::bigint, NULL::timestamptz FROM newest WHERE version IS NOT NULL
    UNION ALL
    SELECT e.* FROM newest CROSS JOIN LATERAL (SELECT {_EVENT} FROM kehu.stored_events e
        WHERE e.originator_id = newest.stream AND e.originator_version > coalesce(newest.version, 0)
        ORDER BY e.originator_version) AS e"""  # noqa: S608


class PostgresLog:
    """Streams, inbox, positions and parked messages."""

    def __init__(self, conninfo: str) -> None:
        self._connection = connection.Connection(conninfo, "kehu-ingest", tuple_row)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def claim(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        ordered = sorted(partitions, key=lambda p: (p.topic_id, p.number))

        def claim(conn: Connection) -> Mapping[Partition, int]:
            claimed = {}
            with conn.transaction():
                for p in ordered:
                    conn.execute(
                        "INSERT INTO kehu.positions (topic, topic_id, partition) VALUES (%s, %s, %s)"
                        " ON CONFLICT DO NOTHING",
                        (p.topic, p.topic_id, p.number),
                    )
                    # An update, not a read: it waits for the open transaction of a former owner.
                    row = conn.execute(
                        "UPDATE kehu.positions SET next_offset = next_offset WHERE topic_id = %s AND partition = %s"
                        " RETURNING next_offset",
                        (p.topic_id, p.number),
                    ).fetchone()
                    assert row is not None
                    claimed[p] = int(row[0])
            return claimed

        return self._with(claim)

    def load(self, streams: Collection[str]) -> Mapping[str, LoadedStream]:
        return self._with(lambda conn: _load(conn, list(streams)))

    def seen(self, keys: Collection[bytes]) -> Mapping[bytes, bytes]:
        query = "SELECT key, content FROM kehu.inbox WHERE key = ANY(%b)"
        return self._with(
            lambda conn: {bytes(k): bytes(c) for k, c in conn.execute(query, (list(keys),), binary=True).fetchall()}
        )

    def append(self, batch: Batch) -> Position:
        rows: list[EventRow] = [
            (e.originator_id, e.originator_version, registry.of(e.event).topic, to_state(e), e.meta.customer_id)
            for e in batch.events
        ]

        def append(conn: Connection) -> Position:
            with conn.transaction():
                last = write(conn, rows, batch)
            reach("committed", conn)
            return Position(last) if last is not None else _head(conn)

        return self._with(append)

    def read(self, after: Position, limit: int) -> Sequence[Recorded]:
        query = (
            f"SELECT {_EVENT} FROM kehu.stored_events e WHERE notification_id > %s ORDER BY notification_id LIMIT %s"  # noqa: S608
        )
        return self._with(
            lambda conn: [to_recorded(*row) for row in conn.execute(query, (after, limit), binary=True).fetchall()]
        )

    def head(self) -> Position:
        return self._with(_head)

    def due_parked(self, partitions: Collection[Partition], now: datetime, limit: int) -> Sequence[str]:
        query = """SELECT stream FROM kehu.parked p
            WHERE least(next_try_at, expires_at) <= %s
            AND EXISTS (SELECT FROM unnest(%s::text[], %s::text[], %s::int[]) AS mine (topic, topic_id, partition)
                WHERE (mine.topic_id, mine.partition) = (p.topic_id, p.partition)
                OR (mine.topic = p.topic AND mine.partition = 0 AND mine.topic_id <> p.topic_id))
            AND NOT EXISTS (SELECT FROM kehu.parked older WHERE older.stream = p.stream AND older.seq < p.seq)
            ORDER BY least(next_try_at, expires_at) LIMIT %s"""
        mine = ([p.topic for p in partitions], [p.topic_id for p in partitions], [p.number for p in partitions])
        return self._with(lambda conn: [s for (s,) in conn.execute(query, (now, *mine, limit)).fetchall()])

    def _with(self, work: Callable[[Connection], T]) -> T:
        with self._connection.use() as conn:
            try:
                return work(conn)
            except psycopg.errors.UniqueViolation as error:
                raise Conflict(str(error.diag.constraint_name)) from error


def _head(conn: Connection) -> Position:
    row = conn.execute("SELECT n FROM kehu.log_head").fetchone()
    assert row is not None
    return Position(row[0])


def _load(conn: Connection, streams: list[str]) -> Mapping[str, LoadedStream]:
    snapshots: dict[str, Snapshot] = {}
    events: dict[str, list[Recorded]] = {}
    for row in conn.execute(_LOAD, (streams,), binary=True).fetchall():
        if row[4] is None:
            stream, version, kind, state = row[:4]
            snapshots[stream] = Snapshot(stream, version, kind, state)
        else:
            events.setdefault(row[0], []).append(to_recorded(*row))
    parked: dict[str, list[Parked]] = {}
    waiting = conn.execute(
        "SELECT stream, topic, topic_id, partition, kafka_offset, kafka_timestamp, key, value, header_names,"
        " header_values, rule, detail, parked_at, expires_at, next_try_at, tries, seq"
        " FROM kehu.parked WHERE stream = ANY(%b) ORDER BY seq",
        (streams,),
        binary=True,
    )
    for stream, topic, topic_id, number, offset, stamp, key, value, names, values, *rest in waiting.fetchall():
        headers = tuple(zip(names, map(bytes, values), strict=True))
        message = Message(Partition(topic, topic_id, number), offset, stamp, key, value, headers)
        parked.setdefault(stream, []).append(Parked(stream, message, *rest))
    loaded = {}
    for stream in {*snapshots, *events, *parked}:
        snapshot, after = snapshots.get(stream), tuple(events.get(stream, ()))
        version = after[-1].originator_version if after else snapshot.version if snapshot else 0
        loaded[stream] = LoadedStream(version, snapshot, after, tuple(parked.get(stream, ())))
    return loaded
