"""What operators ask the event store: what became of a message, what waits, what died. Rows are plain dicts."""

# ruff: noqa: S608 (what is put together are lists of our own columns; values are always parameters)

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

_PLACE = "topic, topic_id, partition, kafka_offset, kafka_timestamp"
_DEAD = f"id, {_PLACE}, rule, detail, stream, source, event_id, died_at, published, replayed_at"
_PARKED = f"seq, stream, {_PLACE}, rule, detail, parked_at, next_try_at, expires_at, tries"
_BYTES = "key, value, header_names, header_values"


def list_dead_letters(
    conn: Connection,
    *,
    rule: str | None = None,
    topic: str | None = None,
    source: str | None = None,
    limit: int = 50,
) -> list[Row]:
    """The newest dead letters that match, without their bytes."""
    query = f"""SELECT {_DEAD} FROM kehu.dead_letters WHERE (%(rule)s::text IS NULL OR rule = %(rule)s)
        AND (%(topic)s::text IS NULL OR topic = %(topic)s) AND (%(source)s::text IS NULL OR source = %(source)s)
        ORDER BY id DESC LIMIT %(limit)s"""
    return _rows(conn, query, {"rule": rule, "topic": topic, "source": source, "limit": limit})


def get_dead_letter(conn: Connection, letter_id: int) -> Row | None:
    """One dead letter with `key`, `value` and `headers` as they came; None if there is no such id."""
    found = _rows(conn, f"SELECT {_DEAD}, {_BYTES} FROM kehu.dead_letters WHERE id = %(id)s", {"id": letter_id})
    return _with_headers(found[0]) if found else None


def mark_replayed(conn: Connection, letter_ids: Sequence[int]) -> int:
    """Keep that these dead letters were published again; returns how many had not been."""
    query = "UPDATE kehu.dead_letters SET replayed_at = clock_timestamp() WHERE id = ANY(%s) AND replayed_at IS NULL"
    return conn.execute(query, (list(letter_ids),)).rowcount


def list_parked(conn: Connection, *, stream: str | None = None, limit: int = 50) -> list[Row]:
    """The messages that wait, in the order of their next try, or one stream's in the order of its queue."""
    query = f"""SELECT {_PARKED} FROM kehu.parked WHERE %(stream)s::text IS NULL OR stream = %(stream)s
        ORDER BY CASE WHEN %(stream)s::text IS NULL THEN least(next_try_at, expires_at) END, seq LIMIT %(limit)s"""
    return _rows(conn, query, {"stream": stream, "limit": limit})


def reconciliation(conn: Connection) -> list[Row]:
    """Per topic: messages read by outcome, beside what the tables of parked messages and dead letters hold.

    `read` = `appended` + `duplicate` + `parked` + `dead` was counted with each batch; `parked_rows`, `dead_rows` and
    `dead_by_rule` are counted now. `offsets` is the sum of the positions: it equals `read` for a topic that was read
    from its offset 0 and is neither compacted nor written in transactions. `balanced` compares the counted with the
    kept; replayed dead letters stay where they are, and are read again as new messages.
    """
    query = """SELECT p.topic, p.appended + p.duplicate + p.parked + p.dead AS read, p.offsets,
            p.appended, p.duplicate, p.parked, p.dead, coalesce(w.n, 0) AS parked_rows, coalesce(d.n, 0) AS dead_rows,
            coalesce(d.by_rule, '{}') AS dead_by_rule,
            p.parked = coalesce(w.n, 0) AND p.dead = coalesce(d.n, 0) AS balanced
        FROM (SELECT topic, sum(next_offset)::bigint AS offsets, sum(appended)::bigint AS appended,
                sum(duplicate)::bigint AS duplicate, sum(parked)::bigint AS parked, sum(dead)::bigint AS dead
            FROM kehu.positions GROUP BY topic) p
        LEFT JOIN (SELECT topic, count(*) AS n FROM kehu.parked GROUP BY topic) w USING (topic)
        LEFT JOIN (SELECT topic, sum(n)::bigint AS n, jsonb_object_agg(rule, n) AS by_rule
            FROM (SELECT topic, rule, count(*) AS n FROM kehu.dead_letters GROUP BY topic, rule) r
            GROUP BY topic) d USING (topic)
        ORDER BY p.topic"""
    return _rows(conn, query, {})


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
    parked = f"""SELECT {_PARKED} FROM kehu.parked
        WHERE position(convert_to(%(event_id)s, 'UTF8') IN value) > 0
        OR convert_to(%(event_id)s, 'UTF8') = ANY(header_values)
        ORDER BY seq"""
    return {
        "stream": stream,
        "events": [e for e in events if (e["meta"]["source"], e["meta"]["id"]) == (source, event_id)],
        "dead_letters": _rows(conn, dead, names),
        "parked": _rows(conn, parked, names),
    }


def events_of_stream(conn: Connection, stream: str) -> list[Row]:
    """A stream's events as stored, not upcast, in order."""
    query = """SELECT position, recorded_at, stream, version, type, customer_id, meta, data FROM kehu.event_log
        WHERE stream = %(stream)s ORDER BY version"""
    return _rows(conn, query, {"stream": stream})


def _rows(conn: Connection, query: str, values: Mapping[str, object]) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute(query.encode(), values).fetchall()


def _with_headers(row: Row) -> Row:
    names, values = row.pop("header_names"), row.pop("header_values")
    return {**row, "headers": list(zip(names, values, strict=True))}
