"""The event log on PostgreSQL: `domain.ports.EventLog` over one connection, used by one thread."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from domain import handling, personal, registry
from domain.ports import Batch, Conflict, InboxEntry, LoadedStream, Message, Parked, Partition, Snapshot
from domain.values import Position, Recorded
from infra.failpoints import reach
from infra.postgres import connection, data_keys, messages, receipts
from infra.postgres.arrays import Digests, lines
from infra.postgres.data_keys import NONE, DataKeys, Keys
from infra.postgres.event_store import EventRow, write
from infra.postgres.mapper import EVENT_COLUMNS, read_rows, to_state
from infra.postgres.messages import MESSAGE_COLUMNS

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

# Snapshots and the events after them in one statement, so that both are of one moment: another worker may replace a
# snapshot between two. The subquery with its order keeps the planner at one look into the index per stream, whatever
# it believes about a table that it has not analysed yet. The state of a snapshot comes with the first event after it.
_LOAD = f"""SELECT wanted.stream, e.*, s.version, s.kind, s.hidden_for,
        CASE WHEN e.originator_version IS NULL OR e.originator_version = s.version + 1 THEN s.state END
    FROM unnest(string_to_array(%b, chr(10))) AS wanted (stream)
    LEFT JOIN kehu.snapshots s ON s.stream = wanted.stream AND s.kind = ANY(%b::text[])
    LEFT JOIN LATERAL (SELECT {EVENT_COLUMNS} FROM kehu.stored_events o WHERE o.originator_id = wanted.stream
        AND o.originator_version > coalesce(s.version, 0) ORDER BY o.originator_version) AS e ON true
    WHERE s.version IS NOT NULL OR e.originator_version IS NOT NULL"""  # noqa: S608

_VERSIONS = """SELECT stream, coalesce((SELECT originator_version FROM kehu.stored_events
        WHERE originator_id = stream ORDER BY originator_version DESC LIMIT 1), 0)
    FROM unnest(string_to_array(%b, chr(10))) AS wanted (stream)"""
_WAITING = f"stream, rule, detail, parked_at, expires_at, next_try_at, tries, seq, identity, {MESSAGE_COLUMNS}"
_BYTES = 16 * 1024 * 1024
"""Bytes of waiting messages that are loaded at once: those that lie in front of a message."""
# A queue is read by comparing (stream, seq) as one, whose order only one index has. Asked for the stream and ordered by
# seq, the planner might walk through everybody's messages for those of a stream that has none.
# Most streams have none, which is seen first. The oldest of each queue come first, so that large messages leave out
# what is furthest behind. Of a queue that does not fit at all one comes without its value, to tell that there is one.
_QUEUES = f"""SELECT {_WAITING.replace(" value,", f" CASE WHEN p.before < {_BYTES} THEN p.value END,")},
        p.n, p.before < {_BYTES}
    FROM (SELECT q.*, coalesce(sum(octet_length(q.value)) OVER (ORDER BY q.place, q.seq), 0)
            - coalesce(octet_length(q.value), 0) AS before
        FROM (SELECT name FROM unnest(string_to_array(%b, chr(10))) AS asked (name)
            WHERE EXISTS (SELECT FROM kehu.parked e WHERE e.stream = name)) AS wanted CROSS JOIN LATERAL (
            SELECT o.*, row_number() OVER (ORDER BY o.seq) AS place, count(*) OVER () AS n
            FROM (SELECT * FROM kehu.parked WHERE (stream, seq) > (wanted.name, 0) ORDER BY stream, seq LIMIT %b) o
            WHERE o.stream = wanted.name) AS q) AS p
    WHERE p.place = 1 OR (p.place < %b AND p.before < {_BYTES}) ORDER BY p.seq"""  # noqa: S608
_BEHIND = f"""SELECT {_WAITING} FROM unnest(ARRAY[%b]::text[]) AS wanted (name) CROSS JOIN LATERAL (
        SELECT o.*, coalesce(sum(octet_length(o.value)) OVER (ORDER BY o.seq), 0)
            - coalesce(octet_length(o.value), 0) AS before
        FROM (SELECT * FROM kehu.parked WHERE (stream, seq) > (wanted.name, %b) ORDER BY stream, seq LIMIT %b) o
        WHERE o.stream = wanted.name) AS p
    WHERE p.before < {_BYTES} ORDER BY p.seq"""  # noqa: S608
# Only messages with a next try are looked at, and those that have expired: the index holds what is asked for, in the
# order in which it is due, so that neither a long queue nor many of them cost more than what is returned.
_DUE = """SELECT stream FROM (
        SELECT due.* FROM unnest(%b::text[], %b::int4[]) AS mine (topic_id, partition) CROSS JOIN LATERAL (
            SELECT stream, seq, least(next_try_at, expires_at) AS at FROM kehu.parked p
            WHERE (p.topic_id, p.partition) = (mine.topic_id, mine.partition)
            AND least(p.next_try_at, p.expires_at) <= %b ORDER BY least(p.next_try_at, p.expires_at) LIMIT %b) AS due
    ) AS due CROSS JOIN LATERAL (SELECT seq FROM kehu.parked p
        WHERE (p.stream, p.seq) > (due.stream, 0) ORDER BY p.stream, p.seq LIMIT 1) AS oldest
    WHERE oldest.seq = due.seq ORDER BY at LIMIT %b"""
_LOOKED_AT = 10
# A topic that is made anew leaves behind what waits of the former one, for the owner of its partition 0.
_GONE = """SELECT p.topic_id, p.partition
    FROM kehu.positions p JOIN unnest(%b::text[], %b::text[]) AS mine (topic, topic_id)
    ON mine.topic = p.topic AND mine.topic_id <> p.topic_id"""
_WATCH = """INSERT INTO kehu.attempts AS a (topic_id, partition, next_offset, worker, in_work)
    SELECT topic_id, partition, next_offset, %b, %b
    FROM unnest(%b::text[], %b::int4[], %b::int8[]) AS w (topic_id, partition, next_offset) ORDER BY 1, 2
    ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = excluded.next_offset, worker = excluded.worker,
    in_work = CASE WHEN a.next_offset = excluded.next_offset THEN a.in_work ELSE excluded.in_work END,
    suspects = CASE WHEN a.next_offset <> excluded.next_offset THEN 0
        WHEN a.worker <> excluded.worker THEN a.in_work ELSE a.suspects END,
    alone = CASE WHEN a.next_offset = excluded.next_offset THEN a.alone ELSE '{}' END
    RETURNING topic_id, partition, suspects"""
_TRYING = """INSERT INTO kehu.attempts AS a (topic_id, partition, next_offset, worker, in_work, alone)
    VALUES (%b, %b, %b, %b, %b, ARRAY[%b])
    ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = excluded.next_offset, worker = excluded.worker,
    in_work = excluded.in_work, alone = CASE
        WHEN a.next_offset = excluded.next_offset AND a.in_work = 1 AND excluded.in_work = 1
        THEN array_remove(a.alone, excluded.worker) || excluded.worker ELSE excluded.alone END
    RETURNING cardinality(alone)"""


class PostgresLog:
    """Streams, inbox, positions and parked messages."""

    def __init__(self, conninfo: str, keys: DataKeys | None = None) -> None:
        """Without `keys`, those of the database, under the master keys that the environment names."""
        self._keys = keys or data_keys.of(conninfo)
        # A few rows of each of many streams: an index is walked, and a bitmap for each stream takes twice the time.
        self._connection = connection.Connection(conninfo, "kehu-ingest", tuple_row, "-c enable_bitmapscan=off")

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

    def watch(self, positions: Mapping[Partition, int], worker: str, in_work: int) -> Mapping[Partition, int]:
        named = {(p.topic_id, p.number): p for p in positions}
        places = ([p.topic_id for p in positions], [p.number for p in positions], list(positions.values()))

        def watch(conn: Connection) -> Mapping[Partition, int]:
            rows = conn.execute(_WATCH, (worker, in_work, *places)).fetchall()
            return {named[topic_id, number]: suspects for topic_id, number, suspects in rows}

        return self._with(watch)

    def unwatch(self, worker: str) -> None:
        query = "DELETE FROM kehu.attempts WHERE worker = %s AND suspects = 0"
        self._with(lambda conn: conn.execute(query, (worker,)))

    def trying(self, partition: Partition, offset: int, worker: str, in_work: int) -> int:
        values = (partition.topic_id, partition.number, offset, worker, in_work, worker)

        def trying(conn: Connection) -> int:
            row = conn.execute(_TRYING, values).fetchone()
            assert row is not None
            return int(row[0])

        return self._with(trying)

    def load(self, streams: Collection[str], window: int = 20) -> Mapping[str, LoadedStream]:
        return self._with(lambda conn: _load(conn, self._keys, lines(streams), window))

    def versions(self, streams: Collection[str]) -> Mapping[str, int]:
        return self._with(lambda conn: dict(conn.execute(_VERSIONS, (lines(streams),)).fetchall()))

    def waiting(self, stream: str, after: int, limit: int) -> Sequence[Parked]:
        query = (stream, after, limit)

        def behind(conn: Connection) -> Sequence[Parked]:
            rows = conn.execute(_BEHIND, query, binary=True).fetchall()
            return _parked(rows, self._keys.known(conn, _hidden_for(rows)))

        return self._with(behind)

    def seen(self, identities: Collection[bytes]) -> Mapping[bytes, bytes]:
        query = "SELECT key, content FROM kehu.inbox WHERE key = ANY(%b)"
        return self._with(lambda conn: dict(conn.execute(query, (Digests(identities),), binary=True).fetchall()))

    def entries(self, identities: Collection[bytes]) -> Mapping[bytes, InboxEntry]:
        return self._with(lambda conn: receipts.entries(conn, identities))

    def append(self, batch: Batch) -> Position:
        subjects: set[str] = {e.meta.customer_id for e in batch.events if personal.said(e.event)}
        subjects |= messages.subjects(batch)

        def append(conn: Connection) -> Position:
            with conn.transaction():
                keys = self._keys.made(conn, subjects)
                rows: list[EventRow] = [
                    (
                        *(e.originator_id, e.originator_version, registry.of(e.event).topic),
                        *(to_state(e, keys), e.meta.customer_id),
                    )
                    for e in batch.events
                ]
                last = write(conn, rows, batch, keys)
            self._keys.remember(keys)
            reach("committed", conn)
            return Position(last) if last is not None else head(conn)

        return self._with(append)

    def read(
        self,
        after: Position,
        limit: int,
        names: Collection[str] | None = None,
        personal: Collection[str] | None = None,
    ) -> Sequence[Recorded]:
        some, topics = ("", []) if names is None else (" AND topic = ANY(%s)", [registry.topics(names)])
        query = (
            f"SELECT {EVENT_COLUMNS} FROM kehu.stored_events"  # noqa: S608
            f" WHERE notification_id > %s AND notification_id <= %s{some} ORDER BY notification_id"
        )
        values = (after, after + limit, *topics)

        def read(conn: Connection) -> Sequence[Recorded]:
            rows = conn.execute(query, values, binary=True).fetchall()
            # Keys are looked up behind the rows: of whoever is forgotten in them nothing is read any more.
            return read_rows(rows, partial(self._keys.known, conn), personal)

        return self._with(read)

    def head(self) -> Position:
        return self._with(head)

    def erasures(self) -> int:
        return self._keys.epoch

    def due_parked(self, partitions: Collection[Partition], now: datetime, limit: int) -> Sequence[str]:
        mine = sorted((p.topic_id, p.number) for p in partitions)

        def due(conn: Connection) -> Sequence[str]:
            firsts = [p for p in partitions if p.number == 0]
            gone = conn.execute(_GONE, ([p.topic for p in firsts], [p.topic_id for p in firsts])).fetchall()
            places = [*mine, *gone]
            ids, numbers = [place[0] for place in places], [place[1] for place in places]
            values = (ids, numbers, now, limit * _LOOKED_AT, limit)
            return [stream for (stream,) in conn.execute(_DUE, values).fetchall()]

        return self._with(due)

    def _with(self, work: Callable[[Connection], T]) -> T:
        with self._connection.use() as conn:
            try:
                return work(conn)
            except psycopg.errors.UniqueViolation as error:
                raise Conflict(str(error.diag.constraint_name)) from error


def head(conn: Connection) -> Position:
    """The position of the last event; 0 when there is none."""
    row = conn.execute("SELECT n FROM kehu.log_head").fetchone()
    assert row is not None
    return Position(row[0])


def _load(conn: Connection, keys: DataKeys, streams: str, window: int) -> Mapping[str, LoadedStream]:
    snapshots: dict[str, Snapshot] = {}
    rows: list[tuple[Any, ...]] = []
    kinds = list(handling.snapshot_kinds().values())
    hidden: dict[str, str] = {}
    for row in conn.execute(_LOAD, (streams, kinds), binary=True).fetchall():
        stream, *event, version, kind, hidden_for, state = row
        if state is not None:
            snapshots[stream] = Snapshot(stream, version, kind, state)
            if hidden_for is not None:
                hidden[stream] = hidden_for
        if event[0] is not None:
            rows.append(tuple(event))

    waiting: list[list[Any]] = []
    parked: dict[str, list[Parked]] = {}
    more: dict[str, int] = {}
    for *message, n, fits in conn.execute(_QUEUES, (streams, window + 1, window + 1), binary=True).fetchall():
        parked.setdefault(message[0], [])
        more[message[0]] = n
        if fits:
            waiting.append(message)
    # One look for all of it, behind the rows: of whoever is forgotten in them nothing is read any more.
    found: Keys = NONE
    others = {*hidden.values(), *_hidden_for(waiting)}

    def find(customers: Collection[str]) -> Keys:
        nonlocal found
        found = keys.known(conn, {*customers, *others})
        return found

    events: dict[str, list[Recorded]] = {}
    for recorded in read_rows(rows, find):
        events.setdefault(recorded.originator_id, []).append(recorded)
    found = found or find(())
    snapshots |= messages.opened_snapshots(snapshots, hidden, found)
    for one in _parked(waiting, found):
        parked[one.stream].append(one)
    loaded = {}
    for stream in {*snapshots, *events, *parked}:
        snapshot, after = snapshots.get(stream), tuple(events.get(stream, ()))
        version = after[-1].originator_version if after else snapshot.version if snapshot else 0
        oldest = tuple(parked.get(stream, ()))
        loaded[stream] = LoadedStream(version, snapshot, after, oldest, more.get(stream, 0) > len(oldest))
    return loaded


def _hidden_for(rows: Sequence[Sequence[Any]]) -> set[str]:
    return {row[-1] for row in rows if row[-1] is not None}


def _parked(rows: Sequence[Sequence[Any]], keys: Keys) -> list[Parked]:
    parked = []
    for stream, *rest, topic, topic_id, number, offset, stamp, key, value, names, values, hidden_for in rows:
        message = Message(
            Partition(topic, topic_id, number), offset, stamp, key, value, tuple(zip(names, values, strict=True))
        )
        parked.append(Parked(stream, messages.shown(message, hidden_for, keys), *rest))
    return parked
