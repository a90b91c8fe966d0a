"""The Merkle tree over the log as it is kept: tiles of 256 hashes, a level of tiles above each.

A tile on level 0 holds the hashes of 256 events; one on level 1 those of 256 full tiles below it. Any complete subtree
is found in one tile, so a proof reads a handful of them however long the log is.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

import psycopg

from domain.merkle import Hash, Nodes, complete_root
from infra.errors import KehuError

HEIGHT = 8
WIDTH = 1 << HEIGHT
SIZE = 32
"""Bytes of a hash."""
AT_ONCE = 256 * WIDTH
"""Leaves that are hashed by one statement."""
Conn = psycopg.Connection[Any]

# What is hashed of an event, after RFC 9162's zero: every column. A text holds no NUL, and FF is in no UTF-8, so no two
# rows say the same. `infra/kehu_verify.py` says it again in Python; a test holds the two together.
LEAF = """int8send(notification_id) || timestamptz_send(recorded_at) || int8send(originator_version)
    || textsend(originator_id) || '\\x00'::bytea || textsend(topic) || '\\x00'::bytea
    || coalesce(textsend(customer_id), '\\xff'::bytea) || '\\x00'::bytea || state"""
HASH = f"sha256('\\x00'::bytea || {LEAF})"
"""The leaf of a row of the log."""
# Aggregated in the order of the index, without a sort: rows of the inner query come in its order.
_HASHES = f"""SELECT string_agg(hash, ''::bytea) FROM (
    SELECT {HASH} AS hash FROM kehu.stored_events
    WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id) leaves"""  # noqa: S608
_STORE = """INSERT INTO kehu.proof_tiles (level, number, hashes)
    SELECT * FROM unnest(%b::int2[], %b::int8[], %b::bytea[])
    ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes"""
_DATA = f"SELECT notification_id, {LEAF} FROM kehu.stored_events"  # noqa: S608
_ROW = Struct(">hiqi")
"""Before the data in a row of a binary COPY: the number of columns, the length of the position, it, and a length."""


class HolesInTheLog(KehuError):
    """Positions are missing between those that are to be sealed: somebody removed events. See `kehu audit verify`."""


class TreeDamaged(KehuError):
    """The kept tree does not lead to the last head: somebody changed one of them. See `kehu audit verify`."""


def extend(conn: Conn, size: int, upto: int, told: Callable[[int], None] = lambda _events: None) -> None:
    """Add the events after position `size` up to `upto` to a tree of `size` leaves, inside a transaction.

    `told` hears how many were added since. Raises HolesInTheLog.
    """
    # The index has the order that is hashed in; without statistics PostgreSQL would sort.
    conn.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off")
    for start in range(size, upto, AT_ONCE):
        end = min(start + AT_ONCE, upto)
        _extend(conn, start, end)
        told(end - start)


def _extend(conn: Conn, size: int, upto: int) -> None:
    changed: dict[tuple[int, int], bytes] = {}
    row = conn.execute(_HASHES.encode(), (size, upto), binary=True).fetchone()
    hashes = bytes(row[0] or b"") if row else b""
    if len(hashes) != (upto - size) * SIZE:
        raise HolesInTheLog(f"{upto - size - len(hashes) // SIZE} of the positions {size + 1} to {upto}")
    start = size
    while start < upto:
        end = min(upto, (start // WIDTH + 1) * WIDTH)
        _append(conn, size, changed, 0, start // WIDTH, hashes[(start - size) * SIZE : (end - size) * SIZE])
        start = end
    keys = sorted(changed)
    levels, numbers = [level for level, _ in keys], [number for _, number in keys]
    conn.execute(_STORE, (levels, numbers, [changed[key] for key in keys]))


def _append(
    conn: Conn, size: int, changed: dict[tuple[int, int], bytes], level: int, number: int, hashes: bytes
) -> None:
    """Add hashes to a tile of a tree that had `size` leaves; when it is full, its root goes into the level above."""
    before = changed.get((level, number))
    if before is None:
        begun, there = divmod(size >> level * HEIGHT, WIDTH)
        before = _load(conn, level, number) if there and number == begun else b""
    tile = changed[level, number] = before + hashes
    if len(tile) == WIDTH * SIZE:
        _append(conn, size, changed, level + 1, number // WIDTH, complete_root(split(tile)))


def _load(conn: Conn, level: int, number: int) -> bytes:
    query = "SELECT hashes FROM kehu.proof_tiles WHERE (level, number) = (%s, %s)"
    row = conn.execute(query, (level, number)).fetchone()
    return bytes(row[0]) if row else b""


def split(tile: bytes) -> Sequence[Hash]:
    """The hashes of a tile."""
    return [tile[i : i + SIZE] for i in range(0, len(tile), SIZE)]


def nodes(conn: Conn) -> Nodes:
    """Complete subtrees of the kept tree; what was read lately is not read again."""

    @lru_cache(maxsize=64)
    def tile(level: int, number: int) -> bytes:
        return _load(conn, level, number)

    def node(level: int, index: int) -> Hash:
        height = level % HEIGHT
        first = index << height
        number, place = divmod(first, WIDTH)
        hashes = tile(level // HEIGHT, number)[place * SIZE : (place + (1 << height)) * SIZE]
        if len(hashes) != SIZE << height:
            raise LookupError(f"the tree has no complete subtree {index} of height {level}")
        return complete_root(split(hashes))

    return node


def stored(conn: Conn, first: int = 1, last: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Positions and what is hashed of the events there, in order, read as a stream.

    The hashing is left to whoever reads, so that the server need not be believed in more than its rows.
    """
    upto = "" if last is None else f" AND notification_id <= {last:d}"
    rows = f"{_DATA} WHERE notification_id >= {first:d}{upto} ORDER BY notification_id"
    query = f"COPY ({rows}) TO STDOUT (FORMAT BINARY)"
    start, size = len(_HEADER), _ROW.size
    with conn.cursor().copy(query.encode()) as copy:
        for row in copy:
            if start:  # the header may come with the first row
                row, start = row[start:], 0
            if len(row) > size:  # what ends the stream is shorter
                yield _ROW.unpack_from(row)[2], bytes(row[size:])


_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def kept_leaves(conn: Conn, first: int = 1) -> Iterator[Hash]:
    """The hashed leaves as they are kept, from the one of this position on; a tile that is not there ends them."""
    begin, skipped = divmod(first - 1, WIDTH)
    with conn.cursor("tiles", binary=True) as cursor:
        query = "SELECT number, hashes FROM kehu.proof_tiles WHERE level = 0 AND number >= %s ORDER BY number"
        cursor.execute(query, (begin,))
        for wanted, (number, hashes) in enumerate(cursor, begin):
            if number != wanted:
                return
            yield from split(bytes(hashes))[skipped:]
            skipped = 0
