"""Dead letters that are not on their topic yet: an outbox, since they are stored in the ingest's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from psycopg.rows import tuple_row

from infra.postgres.connection import Connection
from infra.postgres.data_keys import SYSTEM

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
