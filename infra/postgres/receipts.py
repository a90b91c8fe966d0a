"""What became of messages, by their identity: where each arrived and what its outcome is.

An identity is the digest of (source, id) that the inbox keeps; see `infra.kafka.codec.identity`.
"""

from collections.abc import Collection, Mapping

from psycopg.rows import tuple_row

from domain.ports import InboxEntry, Partition
from infra.postgres.querying import Connection, Row, dict_rows

_ENTRIES = """SELECT i.key, i.content, i.stream, p.topic, p.topic_id, p.partition, i.kafka_offset, i.version
    FROM kehu.inbox i LEFT JOIN kehu.positions p USING (place) WHERE i.key = ANY(%b)"""
# Entries of a former release tell no version: then the event is looked for in its stream. A string as it stands in
# stored JSON is looked for first, which spares parsing the rows without it.
_RECEIPTS = """SELECT asked.source, asked.id, i.key IS NOT NULL AS known,
        arrived.topic, arrived.topic_id, arrived.partition, arrived.kafka_offset,
        coalesce(first.position, former.position) AS position, w.seq AS parked, w.rule,
        coalesce(w.stream, i.stream) AS stream, coalesce(dead.letters, '{}') AS dead_letters
    FROM unnest(%(keys)s::bytea[], %(sources)s::text[], %(ids)s::text[]) WITH ORDINALITY AS asked (key, source, id, n)
    LEFT JOIN kehu.inbox i ON i.key = asked.key
    LEFT JOIN LATERAL (SELECT * FROM kehu.parked q WHERE q.identity = asked.key ORDER BY seq LIMIT 1) w ON true
    LEFT JOIN LATERAL (SELECT array_agg(d.id ORDER BY d.id) AS letters FROM kehu.dead_letters d
        WHERE d.event_id = asked.id AND d.source = asked.source) dead ON true
    LEFT JOIN LATERAL (
        SELECT p.topic, p.topic_id, p.partition, i.kafka_offset FROM kehu.positions p WHERE p.place = i.place
        UNION ALL SELECT w.topic, w.topic_id, w.partition, w.kafka_offset WHERE i.key IS NULL AND w.seq IS NOT NULL
        UNION ALL SELECT d.topic, d.topic_id, d.partition, d.kafka_offset FROM kehu.dead_letters d
        WHERE i.key IS NULL AND w.seq IS NULL AND d.id = dead.letters[1]) arrived ON true
    LEFT JOIN LATERAL (SELECT e.notification_id AS position FROM kehu.stored_events e
        WHERE e.originator_id = i.stream AND e.originator_version = i.version) first ON true
    LEFT JOIN LATERAL (SELECT min(e.notification_id) AS position FROM kehu.stored_events e
        WHERE i.place IS NULL AND e.originator_id = i.stream
        AND position(convert_to(to_jsonb(asked.id)::text, 'UTF8') IN e.state) > 0
        AND convert_from(e.state, 'UTF8')::jsonb -> 'meta' ->> 'id' = asked.id
        AND convert_from(e.state, 'UTF8')::jsonb -> 'meta' ->> 'source' = asked.source) former ON true
    ORDER BY asked.n"""


def entries(conn: Connection, identities: Collection[bytes]) -> Mapping[bytes, InboxEntry]:
    """What the inbox keeps of these identities; without those that it does not know."""
    with conn.cursor(row_factory=tuple_row, binary=True) as cur:
        rows = cur.execute(_ENTRIES, (list(identities),)).fetchall()
    return {
        identity: InboxEntry(
            identity, content, stream, Partition(*place) if place[0] is not None else None, offset, version
        )
        for identity, content, stream, *place, offset, version in rows
    }


def receipts(conn: Connection, asked: Mapping[bytes, tuple[str, str]]) -> list[Row]:
    """One row for each identity with its source and id, in the order asked.

    `outcome` is appended (from `position` of the log on), duplicate (it said nothing new for its `stream`), parked
    (`parked` is its place in the queue, `rule` what it waits for), dead, or unknown: not read, or not readable enough
    to tell its identity. `topic`, `topic_id`, `partition` and `kafka_offset` tell where the message that led to it
    arrived, None when a former release stored it. `dead_letters` are the ids of those with this identity, also beside
    another outcome.
    """
    values = {
        "keys": list(asked),
        "sources": [source for source, _ in asked.values()],
        "ids": [event_id for _, event_id in asked.values()],
    }
    found = dict_rows(conn, _RECEIPTS, values)
    return [{"source": row["source"], "id": row["id"], "outcome": _outcome(row), **row} for row in found]


def _outcome(row: Row) -> str:
    if row.pop("known"):
        return "appended" if row["position"] is not None else "duplicate"
    return "parked" if row["parked"] is not None else "dead" if row["dead_letters"] else "unknown"
