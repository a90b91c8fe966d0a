"""What operators ask the event store: what became of a message, what waits, what died; and what they do
about it. Rows are plain dicts."""

# ruff: noqa: S608 (what is put together are lists of our own columns; values are always parameters)

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import count, islice
from typing import Any

import psycopg
from psycopg.rows import dict_row

from domain.ports import Batch, DeadLetter, Message, Move, Partition
from infra.postgres import data_keys, messages
from infra.postgres.data_keys import DataKeys, Keys, for_reading
from infra.postgres.event_store import write
from infra.postgres.messages import PLACE_COLUMNS, SAID_COLUMNS

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

AT_ONCE = 1000
"""Rows that a stream fetches at once."""
_numbers = count(1)
_DEAD = f"id, {PLACE_COLUMNS}, rule, detail, stream, source, event_id, died_at, published, replayed_at, repaired_as"
_PARKED = f"seq, stream, {PLACE_COLUMNS}, rule, detail, parked_at, next_try_at, expires_at, tries"
_EVENT = "position, recorded_at, stream, version, type, customer_id, meta, data"
_QUOTED = "convert_to(to_jsonb({})::text, 'UTF8')"
"""A string as it stands in stored JSON: looking for it first spares parsing the rows without it."""


def list_dead_letters(
    conn: Connection,
    *,
    rule: str | None = None,
    topic: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    replayed: bool | None = None,
    before: int | None = None,
    limit: int | None = 50,
) -> Iterator[Row]:
    """The newest dead letters that match, without their bytes; without a limit when it is None.

    With `before` only those that died before the one of this id.
    """
    where = _letters(rule, topic, source, since)
    if before is not None:
        where += " AND id < %(before)s"
    if replayed is not None:
        where += f" AND replayed_at IS {'NOT ' * replayed}NULL"
    values = {"rule": rule, "topic": topic, "source": source, "since": since, "before": before, "limit": limit}
    return streamed(
        conn, f"SELECT {_DEAD} FROM kehu.dead_letters WHERE {where} ORDER BY id DESC LIMIT %(limit)s", values
    )


def count_dead_letters(
    conn: Connection,
    *,
    rule: str | None = None,
    topic: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Per rule and source how many dead letters match, how many were replayed, and when the newest died."""
    query = f"""SELECT rule, source, count(*) AS letters, count(replayed_at) AS replayed, max(died_at) AS newest
        FROM kehu.dead_letters WHERE {_letters(rule, topic, source, since)} GROUP BY rule, source
        ORDER BY letters DESC, rule, source LIMIT %(limit)s"""
    values = {"rule": rule, "topic": topic, "source": source, "since": since, "limit": limit}
    return _rows(conn, query, values)


def get_dead_letters(conn: Connection, letter_ids: Sequence[int]) -> list[Row]:
    """These dead letters in the order of their ids, with `key`, `value` and `headers` as they came.

    `unreadable` tells why that is not so: they are `hidden` without the master key, or `erased`.
    """
    query = f"SELECT {_DEAD}, {SAID_COLUMNS} FROM kehu.dead_letters WHERE id = ANY(%(ids)s) ORDER BY id"
    return shown(conn, _rows(conn, query, {"ids": list(letter_ids)}), for_reading(conn.info.dsn))


def mark_replayed(conn: Connection, letter_ids: Sequence[int]) -> int:
    """Keep that these dead letters were published again; returns how many had not been."""
    query = "UPDATE kehu.dead_letters SET replayed_at = clock_timestamp() WHERE id = ANY(%s) AND replayed_at IS NULL"
    return conn.execute(query, (list(letter_ids),)).rowcount


def mark_repaired(conn: Connection, letter_id: int, event_id: str) -> None:
    """Keep under which id the repaired event of this dead letter was published."""
    query = "UPDATE kehu.dead_letters SET replayed_at = clock_timestamp(), repaired_as = %s WHERE id = %s"
    conn.execute(query, (event_id, letter_id))


def list_parked(
    conn: Connection,
    *,
    stream: str | None = None,
    topic: str | None = None,
    rule: str | None = None,
    after: int | None = None,
    limit: int | None = 50,
) -> Iterator[Row]:
    """The messages that wait, in the order of their next try, or one stream's in the order of its queue.

    With `after`, in the order in which they came, those behind this `seq`.
    """
    chosen = {"stream": stream, "topic": topic, "rule": rule}
    order = "least(next_try_at, expires_at), seq" if stream is None and after is None else "seq"
    where = matching(chosen) + (" AND seq > %(after)s" if after is not None else "")
    query = f"SELECT {_PARKED} FROM kehu.parked WHERE {where} ORDER BY {order} LIMIT %(limit)s"
    return streamed(conn, query, {**chosen, "after": after, "limit": limit})


def retry_parked(
    conn: Connection, *, streams: Sequence[str] | None = None, topic: str | None = None, rule: str | None = None
) -> list[str]:
    """Make the oldest messages of these queues due now, for the worker that owns them to try; returns the streams.

    Without `streams` those of all queues whose oldest message came by the topic and is held by the rule.
    """
    query = """UPDATE kehu.parked p SET next_try_at = clock_timestamp()
        WHERE (%(streams)s::text[] IS NULL OR stream = ANY(%(streams)s))
        AND (%(topic)s::text IS NULL OR topic = %(topic)s) AND (%(rule)s::text IS NULL OR rule = %(rule)s)
        AND (%(streams)s::text[] IS NOT NULL OR next_try_at IS NOT NULL)
        AND NOT EXISTS (SELECT FROM kehu.parked older WHERE older.stream = p.stream AND older.seq < p.seq)
        RETURNING stream"""
    values = {"streams": None if streams is None else list(streams), "topic": topic, "rule": rule}
    return sorted(row["stream"] for row in _rows(conn, query, values))


def release_parked(conn: Connection, waiting: Sequence[Row], rule: str, detail: str, at: datetime) -> None:
    """Waiting messages, as `get_parked` gives them, become dead letters: all in the caller's transaction or none.

    Raises Conflict when one does not wait any more.
    """

    def story(row: Row) -> str:
        return f"{detail}; it waited since {row['parked_at']:%Y-%m-%d %H:%M:%S %Z} for {row['rule']}"

    batch = dying(waiting, rule, story, at)
    write(conn, [], batch, _keys_for(conn, batch))


def dying(waiting: Sequence[Row], rule: str, story: Callable[[Row], str], at: datetime) -> Batch:
    """A batch that makes dead letters of waiting messages, each with its story.

    `source` and `event_id` are kept where a row has them.
    """
    batch = Batch(unpark=[row["seq"] for row in waiting])
    leaving: Counter[Partition] = Counter()
    for row in waiting:
        message = message_of(row)
        leaving[message.partition] += 1
        told = (rule, story(row), row["stream"], row.get("source"), row.get("event_id"))
        batch.dead.append(DeadLetter(message, *told, at))
    # Whoever owns the partitions goes on with their positions: only counters move.
    batch.moves = [Move(partition, None, None, parked=-n, dead=n) for partition, n in leaving.items()]
    return batch


def skip(
    conn: Connection, partition: Partition, offsets: range, data: bytes, rule: str, detail: str, at: datetime
) -> None:
    """Move a partition's position past messages that nobody can read; each is a dead letter, the first with `data`.

    Raises Fenced when the position is not the first of these offsets.
    """
    kept = [Message(partition, offset, 0, None, None if n else data) for n, offset in enumerate(offsets)]
    dead = [DeadLetter(message, rule, detail, None, None, None, at) for message in kept]
    batch = Batch(moves=[Move(partition, offsets.start, offsets.stop, dead=len(offsets))], dead=dead)
    write(conn, [], batch, _keys_for(conn, batch))


def get_parked(conn: Connection, seq: int) -> Row | None:
    """One waiting message with `key`, `value` and `headers` as they came; None if it does not wait (any more).

    `unreadable` is as in `get_dead_letters`.
    """
    found = _rows(conn, f"SELECT {_PARKED}, {SAID_COLUMNS} FROM kehu.parked WHERE seq = %(seq)s", {"seq": seq})
    return shown(conn, found, for_reading(conn.info.dsn))[0] if found else None


def positions(conn: Connection) -> list[Row]:
    """How far each partition of each incarnation of a topic is read: `next_offset`, and when it moved last."""
    query = "SELECT topic, topic_id, partition, next_offset, updated_at FROM kehu.positions ORDER BY 1, 2, 3"
    return _rows(conn, query, {})


def reconciliation(conn: Connection) -> list[Row]:
    """Per incarnation of a topic: the messages by outcome, beside how far it is read and what the tables hold.

    `read` is the sum of the positions: the number of messages, for a topic that was read from its offset 0 and is
    neither compacted nor written in transactions. `outcomes` = `appended` + `duplicate` + `parked` + `dead` was counted
    with each batch; `parked_rows`, `dead_rows` and their reasons are counted now. `balanced` compares the counted with
    the kept; replayed dead letters stay where they are, and are read again as new messages.
    """
    query = """SELECT p.topic, p.topic_id, p.read, p.appended + p.duplicate + p.parked + p.dead AS outcomes,
            p.appended, p.duplicate, p.parked, p.dead, coalesce(w.n, 0) AS parked_rows, coalesce(d.n, 0) AS dead_rows,
            coalesce(w.by_rule, '{}') AS parked_by_rule, coalesce(d.by_rule, '{}') AS dead_by_rule,
            p.parked = coalesce(w.n, 0) AND p.dead = coalesce(d.n, 0) AS balanced
        FROM (SELECT topic, topic_id, sum(next_offset)::bigint AS read, sum(appended)::bigint AS appended,
                sum(duplicate)::bigint AS duplicate, sum(parked)::bigint AS parked, sum(dead)::bigint AS dead
            FROM kehu.positions GROUP BY topic, topic_id) p
        LEFT JOIN (SELECT topic_id, sum(n)::bigint AS n, jsonb_object_agg(rule, n) AS by_rule
            FROM (SELECT topic_id, rule, count(*) AS n FROM kehu.parked GROUP BY topic_id, rule) r
            GROUP BY topic_id) w USING (topic_id)
        LEFT JOIN (SELECT topic_id, sum(n)::bigint AS n, jsonb_object_agg(rule, n) AS by_rule
            FROM (SELECT topic_id, rule, count(*) AS n FROM kehu.dead_letters GROUP BY topic_id, rule) r
            GROUP BY topic_id) d USING (topic_id)
        ORDER BY p.topic, p.topic_id"""
    return _rows(conn, query, {})


def sources_of(conn: Connection, event_id: str) -> list[str]:
    """The sources that published this id, as far as their messages are stored or dead. Reads the whole log."""
    query = f"""SELECT DISTINCT meta ->> 'source' AS source FROM (
            SELECT convert_from(state, 'UTF8')::jsonb -> 'meta' AS meta FROM kehu.stored_events
            WHERE position({_QUOTED.format("%(id)s::text")} IN state) > 0 OFFSET 0) named
            WHERE meta ->> 'id' = %(id)s
        UNION SELECT source FROM kehu.dead_letters WHERE event_id = %(id)s AND source IS NOT NULL ORDER BY 1"""
    return [row["source"] for row in _rows(conn, query, {"id": event_id})]


def trace(conn: Connection, key: bytes, source: str, event_id: str) -> Row:
    """What became of the message `(source, event_id)`, whose digest in the inbox is `key`.

    `stream` and `events` when it was appended (no events: it said nothing new), `dead_letters`, and `parked`: waiting
    messages in whose bytes the id occurs, since a waiting message is not stored in a decoded form.
    """
    names = {"key": key, "source": source, "event_id": event_id}
    inbox = _rows(conn, "SELECT stream FROM kehu.inbox WHERE key = %(key)s", names)
    stream = inbox[0]["stream"] if inbox else None
    events = events_of_stream(conn, stream) if stream else []
    dead = f"SELECT {_DEAD} FROM kehu.dead_letters WHERE event_id = %(event_id)s AND source = %(source)s ORDER BY id"
    return {
        "stream": stream,
        "events": [e for e in events if (e["meta"]["source"], e["meta"]["id"]) == (source, event_id)],
        "dead_letters": _rows(conn, dead, names),
        "parked": parked_with(conn, event_id),
    }


def parked_with(conn: Connection, event_id: str) -> list[Row]:
    """The waiting messages in whose bytes or headers the id occurs, with their bytes. Opens all that wait."""
    said, found = event_id.encode(), []
    query = f"SELECT {_PARKED}, {SAID_COLUMNS} FROM kehu.parked ORDER BY seq"
    waiting, keys = streamed(conn, query), for_reading(conn.info.dsn)
    while page := list(islice(waiting, AT_ONCE)):
        found += [
            row
            for row in shown(conn, page, keys)
            if said in (row["value"] or b"") or any(value == said for _, value in row["headers"])
        ]
    return found


_OF_KIND = "(%(kind)s::text IS NULL OR type = %(kind)s OR starts_with(type, %(kind)s || '.'))"


def events_of_stream(conn: Connection, stream: str, newest: int | None = None, kind: str | None = None) -> list[Row]:
    """A stream's events, or only its newest ones or one kind, as stored, not upcast, in order.

    A kind is an aggregate, or the name of an event with or without its version.
    """
    query = f"""SELECT {_EVENT} FROM kehu.event_log WHERE stream = %(stream)s AND {_OF_KIND}
        ORDER BY version DESC LIMIT %(newest)s"""
    return _rows(conn, query, {"stream": stream, "newest": newest, "kind": kind})[::-1]


def events_at(conn: Connection, position: int) -> list[Row]:
    """The event at a position of the log as stored, not upcast; none beyond its end."""
    return _rows(conn, f"SELECT {_EVENT} FROM kehu.event_log WHERE position = %(position)s", {"position": position})


def related(
    conn: Connection,
    event_ids: Sequence[str],
    correlation_ids: Sequence[str],
    limit: int | None = 50,
    kind: str | None = None,
) -> list[Row]:
    """Events that share a correlation id, are caused by one of `event_ids`, or are one of them. Reads the whole log.

    The oldest ones, so many or with None all of them; of one kind, as `events_of_stream` knows it, or of any.
    """
    query = f"""SELECT {_EVENT} FROM (SELECT * FROM kehu.event_log WHERE position IN (
                SELECT notification_id FROM kehu.stored_events e,
                    unnest(%(ids)s::text[] || %(correlated)s::text[]) wanted
                WHERE position({_QUOTED.format("wanted")} IN e.state) > 0) OFFSET 0) named
        WHERE (meta ->> 'correlation_id' = ANY(%(correlated)s) OR meta ->> 'causation_id' = ANY(%(ids)s)
        OR meta ->> 'id' = ANY(%(ids)s)) AND {_OF_KIND} ORDER BY position LIMIT %(limit)s"""
    values = {"ids": list(event_ids), "correlated": list(correlation_ids), "limit": limit, "kind": kind}
    return _rows(conn, query, values)


def projections(conn: Connection) -> list[Row]:
    """Every build of every projection: how far it folded the log, whether it rests, and why it stopped if it did."""
    query = """SELECT name, version, build, state, position, head.n AS head, head.n - position AS behind, paused, error,
            updated_at, model, serial
        FROM kehu.projection_builds, (SELECT n FROM kehu.log_head) head ORDER BY name, version, build"""
    return _rows(conn, query, {})


def matching(chosen: Mapping[str, object]) -> str:
    """A condition that each of these columns has its value, or one of a list; those without are not asked about."""
    conditions = (
        f"{name} = ANY(%({name})s)" if isinstance(value, list) else f"{name} = %({name})s"
        for name, value in chosen.items()
        if value is not None
    )
    return " AND ".join(conditions) or "true"


def message_of(row: Row) -> Message:
    """The message of a row with `key`, `value` and `headers`, as it came."""
    partition = Partition(row["topic"], row["topic_id"], row["partition"])
    headers = tuple(row["headers"])
    return Message(partition, row["kafka_offset"], row["kafka_timestamp"], row["key"], row["value"], headers)


def streamed(conn: Connection, query: str, values: Mapping[str, object] | None = None) -> Iterator[Row]:
    """The rows of a query as they are read, in one transaction: no more than a portion of them is in memory."""
    with (
        conn.transaction() if conn.autocommit else nullcontext(),
        conn.cursor(f"kehu_{next(_numbers)}", row_factory=dict_row) as cursor,
    ):
        cursor.itersize = AT_ONCE
        yield from cursor.execute(query.encode(), values)


def _rows(conn: Connection, query: str, values: Mapping[str, object]) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute(query.encode(), values).fetchall()


def shown(conn: Connection, rows: Sequence[Row], of: DataKeys) -> list[Row]:
    """Rows of messages with `key`, `value` and `headers` as they came, or with the reason in `unreadable`.

    Who shows several pages passes the same data keys, which are remembered.
    """
    keys = of.known(conn, {row["hidden_for"] for row in rows if row["hidden_for"] is not None})
    found = []
    for row in rows:
        names, values, whose = (row.pop(name) for name in ("header_names", "header_values", "hidden_for"))
        kept = {**row, "headers": list(zip(names, values, strict=True))}
        unreadable = None
        if whose is not None and keys.get(whose) is None:
            unreadable = "erased" if whose in keys or row["value"] is None else "hidden"
        message = messages.shown(message_of(kept), whose, keys)
        told = {"key": message.key, "value": message.value, "headers": list(message.headers)}
        found.append({**kept, **told, "unreadable": unreadable})
    return found


def _keys_for(conn: Connection, batch: Batch) -> Keys:
    """The keys under which the messages of a batch are kept, made in the caller's transaction."""
    return data_keys.of(conn.info.dsn).made(conn, messages.subjects(batch))


def _letters(rule: str | None, topic: str | None, source: str | None, since: datetime | None) -> str:
    chosen = matching({"rule": rule, "topic": topic, "source": source})
    return chosen if since is None else f"{chosen} AND died_at >= %(since)s"
