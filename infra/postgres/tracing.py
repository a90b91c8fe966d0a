"""What became of a message, and what followed from it: by its id, a position of the log or a stream."""

# ruff: noqa: S608 (what is put together are lists of our own columns; values are always parameters)

from collections.abc import Sequence

from infra.postgres.dead_letters import LETTER_COLUMNS
from infra.postgres.parked import parked_with
from infra.postgres.querying import Connection, Row, dict_rows

_EVENT = "position, recorded_at, stream, version, type, customer_id, meta, data"
_QUOTED = "convert_to(to_jsonb({})::text, 'UTF8')"
"""A string as it stands in stored JSON: looking for it first spares parsing the rows without it."""
_OF_KIND = "(%(kind)s::text IS NULL OR type = %(kind)s OR starts_with(type, %(kind)s || '.'))"


def sources_of(conn: Connection, event_id: str) -> list[str]:
    """The sources that published this id, as far as their messages are stored or dead. Reads the whole log."""
    query = f"""SELECT DISTINCT meta ->> 'source' AS source FROM (
            SELECT convert_from(state, 'UTF8')::jsonb -> 'meta' AS meta FROM kehu.stored_events
            WHERE position({_QUOTED.format("%(id)s::text")} IN state) > 0 OFFSET 0) named
            WHERE meta ->> 'id' = %(id)s
        UNION SELECT source FROM kehu.dead_letters WHERE event_id = %(id)s AND source IS NOT NULL ORDER BY 1"""
    return [row["source"] for row in dict_rows(conn, query, {"id": event_id})]


def trace(conn: Connection, key: bytes, source: str, event_id: str) -> Row:
    """What became of the message `(source, event_id)`, whose digest in the inbox is `key`.

    `stream` and `events` when it was appended (no events: it said nothing new), `dead_letters`, and `parked`: waiting
    messages in whose bytes the id occurs, since a waiting message is not stored in a decoded form.
    """
    names = {"key": key, "source": source, "event_id": event_id}
    inbox = dict_rows(conn, "SELECT stream FROM kehu.inbox WHERE key = %(key)s", names)
    stream = inbox[0]["stream"] if inbox else None
    events = events_of_stream(conn, stream) if stream else []
    dead = f"""SELECT {LETTER_COLUMNS} FROM kehu.dead_letters
        WHERE event_id = %(event_id)s AND source = %(source)s ORDER BY id"""
    return {
        "stream": stream,
        "events": [e for e in events if (e["meta"]["source"], e["meta"]["id"]) == (source, event_id)],
        "dead_letters": dict_rows(conn, dead, names),
        "parked": parked_with(conn, event_id),
    }


def events_of_stream(conn: Connection, stream: str, newest: int | None = None, kind: str | None = None) -> list[Row]:
    """A stream's events, or only its newest ones or one kind, as stored, not upcast, in order.

    A kind is an aggregate, or the name of an event with or without its version.
    """
    query = f"""SELECT {_EVENT} FROM kehu.event_log WHERE stream = %(stream)s AND {_OF_KIND}
        ORDER BY version DESC LIMIT %(newest)s"""
    return dict_rows(conn, query, {"stream": stream, "newest": newest, "kind": kind})[::-1]


def events_at(conn: Connection, position: int) -> list[Row]:
    """The event at a position of the log as stored, not upcast; none beyond its end."""
    return dict_rows(conn, f"SELECT {_EVENT} FROM kehu.event_log WHERE position = %(position)s", {"position": position})


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
    return dict_rows(conn, query, values)
