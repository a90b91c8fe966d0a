"""Seals the log: what came since the last head goes into the tree, and a new head is signed, in one transaction."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import tuple_row

from domain.heads import Head
from domain.merkle import root
from infra.failpoints import reach
from infra.postgres import access_log, proving, tree
from infra.postgres.connection import Connection
from infra.postgres.log import head
from infra.postgres.proving import NotAsSealed, StoredEvent

Conn = psycopg.Connection[tuple[Any, ...]]
MOST = 16 * tree.AT_ONCE
"""Events that one head is ahead of the one before at most, so that a long backlog is sealed in steps."""
_HEADS = "SELECT size, root, sealed_at, key_id, signature FROM kehu.tree_heads"
_LAST = "ORDER BY size DESC LIMIT 1"


class Seals:
    """The tree and its heads over one connection, used by one thread."""

    def __init__(self, conninfo: str) -> None:
        self._connection = Connection(conninfo, "kehu-seals", tuple_row)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def seal(
        self, sign: Callable[[Head], Head], now: datetime, told: Callable[[int], None] = lambda _events: None
    ) -> Head | None:
        """Take what is new into the tree and sign its head; None when nothing is, or when another process seals.

        `told` hears how many events were taken since. Raises HolesInTheLog, TreeDamaged.
        """
        with self._connection.use() as conn, conn.transaction():
            conn.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
            row = conn.execute("SELECT pg_try_advisory_xact_lock(hashtext('kehu-seals'))").fetchone()
            if not row or not row[0]:
                return None
            before = _one(conn, _LAST)
            size = before.size if before else 0
            upto = min(head(conn), size + MOST)
            if upto <= size:
                return None
            if before and _root(conn, size) != before.root:
                raise tree.TreeDamaged(f"of {size} events")
            tree.extend(conn, size, upto, told)
            reach("growing", conn)
            made = sign(Head(upto, root(upto, tree.nodes(conn)), now, ""))
            conn.execute(
                "INSERT INTO kehu.tree_heads (size, root, sealed_at, key_id, signature) VALUES (%s, %s, %s, %s, %s)",
                (made.size, made.root, made.sealed_at, made.key_id, made.signature),
            )
            reach("sealing", conn)
        reach("sealed", None)
        return made

    def waiting(self) -> int:
        """How many events are in no head yet."""
        with self._connection.use() as conn:
            last = _one(conn, _LAST)
            return head(conn) - (last.size if last else 0)

    def cover_reads(self, now: datetime) -> int:
        """Put the reads of personal data since the last time into the log, to be sealed with it; how many."""
        with self._connection.use() as conn:
            return access_log.cover(conn, now)

    def heads(self, after: int = 0, limit: int | None = None) -> list[Head]:
        """So many heads of more events than this, smallest first."""
        with self._connection.use() as conn:
            rows = conn.execute(f"{_HEADS} WHERE size > %s ORDER BY size LIMIT %s", (after, limit)).fetchall()
        return [_head(row) for row in rows]

    def head_over(self, position: int) -> Head | None:
        """The first head whose tree holds this position."""
        found = self.heads(position - 1, 1)
        return found[0] if found else None

    def head_before(self, position: int) -> Head | None:
        """The last head whose tree does not hold this position."""
        with self._connection.use() as conn:
            return _one(conn, f"WHERE size < %s {_LAST}", (position,))

    def last(self) -> Head | None:
        """The newest head."""
        with self._connection.use() as conn:
            return _one(conn, _LAST)

    def of_size(self, size: int) -> Head | None:
        """The head of this size, if one was sealed."""
        found = self.head_over(size)
        return found if found and found.size == size else None

    def prove(self, position: int, of: Head) -> tuple[StoredEvent, list[bytes]]:
        """The event at a position, and the path that proves it in the tree of a head that has it.

        Raises NotAsSealed.
        """
        with self._connection.use() as conn:
            event = proving.event(conn, position)
            if event is None:
                raise NotAsSealed(f"the event at position {position} is gone")
            return event, proving.path(event, of, tree.nodes(conn))

    def extension(self, earlier: Head, later: Head) -> list[bytes]:
        """The proof that the tree of a later head begins with that of an earlier one. Raises NotAsSealed."""
        with self._connection.use() as conn:
            return proving.extension(earlier, later, tree.nodes(conn))

    def event(self, position: int) -> StoredEvent | None:
        """The event at a position."""
        with self._connection.use() as conn:
            return proving.event(conn, position)

    def anchored(self, name: str) -> int:
        """Up to which size heads are told to a place outside."""
        with self._connection.use() as conn:
            row = conn.execute("SELECT size FROM kehu.anchors WHERE name = %s", (name,)).fetchone()
        return int(row[0]) if row else 0

    def anchor(self, name: str, size: int) -> None:
        """Keep that heads up to this size are told."""
        with self._connection.use() as conn:
            conn.execute(
                "INSERT INTO kehu.anchors (name, size) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET size = greatest(anchors.size, excluded.size)",
                (name, size),
            )


def ends(conn: Conn) -> tuple[Head | None, Head | None]:
    """The smallest head and the largest one."""
    return _one(conn, "ORDER BY size LIMIT 1"), _one(conn, _LAST)


def _one(conn: Conn, chosen: LiteralString, values: Sequence[Any] = ()) -> Head | None:
    row = conn.execute(f"{_HEADS} {chosen}", values).fetchone()
    return _head(row) if row else None


def _root(conn: Conn, size: int) -> bytes | None:
    """To what the kept tree leads; None where a part of it is gone."""
    try:
        return root(size, tree.nodes(conn))
    except LookupError:
        return None


def kept_heads(conn: Conn) -> Iterator[Head]:
    """All heads, smallest first, read as a stream inside a transaction."""
    with conn.cursor("heads") as cursor:
        cursor.execute(f"{_HEADS} ORDER BY size")
        yield from map(_head, cursor)


def _head(row: tuple[Any, ...]) -> Head:
    size, root_hash, sealed_at, key_id, signature = row
    return Head(size, bytes(root_hash), sealed_at, key_id, bytes(signature))
