"""Dead letters: which there are, and those that are not on their topic yet.

These are an outbox, since they are stored in the ingest's transaction.
"""

# ruff: noqa: S608 (what is put together are lists of our own columns; values are always parameters)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import tuple_row

from domain.ports import Batch, DeadLetter, Message, Move, Partition
from infra.postgres import querying
from infra.postgres.connection import Connection
from infra.postgres.data_keys import SYSTEM, for_reading
from infra.postgres.event_store import write
from infra.postgres.kept_messages import keys_for, shown
from infra.postgres.messages import PLACE_COLUMNS, SAID_COLUMNS
from infra.postgres.querying import Row, dict_rows, matching, streamed

LETTER_COLUMNS = (
    f"id, {PLACE_COLUMNS}, rule, detail, stream, source, event_id, died_at, published, replayed_at, repaired_as"
)
"""What is told of a dead letter, beside what it says."""

_LOCK = "SELECT pg_try_advisory_lock(hashtext('kehu-dead-letters'))"
BYTES = 8 * 1024 * 1024
"""Bytes of values after which no further letter is taken with the others."""
_PENDING = """SELECT id, topic, partition, kafka_offset, key, value, header_names, header_values, rule, detail,
        hidden_for
    FROM (SELECT *, sum(coalesce(octet_length(value), 0)) OVER (ORDER BY id)
            - coalesce(octet_length(value), 0) AS before
        FROM (SELECT * FROM kehu.dead_letters WHERE NOT published ORDER BY id LIMIT %s) oldest) sized
    WHERE before < %s ORDER BY id"""
_PURGE = """UPDATE kehu.dead_letters SET value = NULL,
        header_values = array_fill(NULL::bytea, ARRAY[cardinality(header_names)])
    WHERE hidden_for = %s AND value IS NOT NULL AND published AND died_at < clock_timestamp() - %s::interval"""
_DONE = "UPDATE kehu.dead_letters SET published = true WHERE id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it is published: where it came from, what it was, and why it died."""

    id: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    rule: str
    detail: str
    hidden_for: str | None = None
    """Under whose key value and header values are encrypted."""


class DeadLetterOutbox:
    """Dead letters waiting for publication. One process at a time holds it, for as long as its connection lives."""

    def __init__(self, conninfo: str) -> None:
        self._connection = Connection(conninfo, "kehu-dead-letters", tuple_row)
        self._session: object | None = None

    def pending(self, limit: int) -> Sequence[Letter]:
        """The oldest unpublished letters, so many or of so many bytes; none while another process holds the outbox."""
        with self._connection.use() as conn:
            if self._session is not conn:
                locked = conn.execute(_LOCK).fetchone()
                if locked is None or not locked[0]:
                    return ()
                self._session = conn
            rows = conn.execute(_PENDING, (limit, BYTES), binary=True).fetchall()
            return [
                Letter(
                    *(number, topic, partition, offset, key, value),
                    *(tuple(zip(names, values, strict=True)), rule, detail, hidden_for),
                )
                for number, topic, partition, offset, key, value, names, values, rule, detail, hidden_for in rows
            ]

    def done(self, letters: Sequence[Letter]) -> None:
        """Keep that these were acknowledged by the broker."""
        with self._connection.use() as conn:
            conn.execute(_DONE, ([letter.id for letter in letters],))

    def purge_unread(self, older: timedelta) -> int:
        """Remove the content of letters that nobody could read and that died longer ago; of how many."""
        with self._connection.use() as conn:
            return conn.execute(_PURGE, (SYSTEM, older)).rowcount

    def close(self) -> None:
        """Close the connection, and let another process publish."""
        self._connection.close()


def list_dead_letters(
    conn: querying.Connection,
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
    where = _matching(rule, topic, source, since)
    if before is not None:
        where += " AND id < %(before)s"
    if replayed is not None:
        where += f" AND replayed_at IS {'NOT ' * replayed}NULL"
    values = {"rule": rule, "topic": topic, "source": source, "since": since, "before": before, "limit": limit}
    return streamed(
        conn, f"SELECT {LETTER_COLUMNS} FROM kehu.dead_letters WHERE {where} ORDER BY id DESC LIMIT %(limit)s", values
    )


def count_dead_letters(
    conn: querying.Connection,
    *,
    rule: str | None = None,
    topic: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Per rule and source how many dead letters match, how many were replayed, and when the newest died."""
    query = f"""SELECT rule, source, count(*) AS letters, count(replayed_at) AS replayed, max(died_at) AS newest
        FROM kehu.dead_letters WHERE {_matching(rule, topic, source, since)} GROUP BY rule, source
        ORDER BY letters DESC, rule, source LIMIT %(limit)s"""
    values = {"rule": rule, "topic": topic, "source": source, "since": since, "limit": limit}
    return dict_rows(conn, query, values)


def get_dead_letters(conn: querying.Connection, letter_ids: Sequence[int]) -> list[Row]:
    """These dead letters in the order of their ids, with `key`, `value` and `headers` as they came.

    `unreadable` tells why that is not so: they are `hidden` without the master key, or `erased`.
    """
    query = f"SELECT {LETTER_COLUMNS}, {SAID_COLUMNS} FROM kehu.dead_letters WHERE id = ANY(%(ids)s) ORDER BY id"
    return shown(conn, dict_rows(conn, query, {"ids": list(letter_ids)}), for_reading(conn.info.dsn))


def mark_replayed(conn: querying.Connection, letter_ids: Sequence[int]) -> int:
    """Keep that these dead letters were published again; returns how many had not been."""
    query = "UPDATE kehu.dead_letters SET replayed_at = clock_timestamp() WHERE id = ANY(%s) AND replayed_at IS NULL"
    return conn.execute(query, (list(letter_ids),)).rowcount


def mark_repaired(conn: querying.Connection, letter_id: int, event_id: str) -> None:
    """Keep under which id the repaired event of this dead letter was published."""
    query = "UPDATE kehu.dead_letters SET replayed_at = clock_timestamp(), repaired_as = %s WHERE id = %s"
    conn.execute(query, (event_id, letter_id))


def skip(
    conn: querying.Connection, partition: Partition, offsets: range, data: bytes, rule: str, detail: str, at: datetime
) -> None:
    """Move a partition's position past messages that nobody can read; each is a dead letter, the first with `data`.

    Raises Fenced when the position is not the first of these offsets.
    """
    kept = [Message(partition, offset, 0, None, None if n else data) for n, offset in enumerate(offsets)]
    dead = [DeadLetter(message, rule, detail, None, None, None, at) for message in kept]
    batch = Batch(moves=[Move(partition, offsets.start, offsets.stop, dead=len(offsets))], dead=dead)
    write(conn, [], batch, keys_for(conn, batch))


def _matching(rule: str | None, topic: str | None, source: str | None, since: datetime | None) -> str:
    """The condition of dead letters with these, where they are given, that died at a moment or later."""
    chosen = matching({"rule": rule, "topic": topic, "source": source})
    return chosen if since is None else f"{chosen} AND died_at >= %(since)s"
