"""What an auditor reads of the log: a stream with all that came with its events, and events as they are hashed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row

from domain.heads import Head
from domain.merkle import Nodes
from infra.postgres import proving, tree
from infra.postgres.proving import EVENT, StoredEvent

Row = dict[str, Any]
AT_ONCE = 2_000

# Who did it is told by the events that somebody did. Whatever the channel said comes with the others.
_STREAM = """SELECT position, stream, version, type, happened_at, recorded_at,
        coalesce(data ->> 'actor', data ->> 'agent_id', data ->> 'by') AS actor, data ->> 'channel' AS channel,
        customer_id, meta ->> 'source' AS source, meta ->> 'id' AS id, meta ->> 'correlation_id' AS correlation_id,
        meta ->> 'causation_id' AS causation_id, meta ->> 'traceparent' AS traceparent, data, hidden
    FROM (SELECT *, (meta ->> 'at')::timestamptz AS happened_at FROM kehu.event_log
        WHERE stream = ANY({streams})) events"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events of a stream; None means all. Times are those at which they happened, or were recorded."""

    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    known_at: datetime | None = None
    actor: str | None = None
    channel: str | None = None
    after: int | None = None
    """Behind this position."""


_FILTERS = {
    "type": "(type = {0} OR type LIKE {0} || '.v%')",
    "since": "happened_at >= {0}",
    "until": "happened_at < {0}",
    "known_at": "recorded_at <= {0}",
    "actor": "coalesce(data ->> 'actor', data ->> 'agent_id', data ->> 'by') = {0}",
    "channel": "data ->> 'channel' = {0}",
    "after": "position > {0}",
}


def stream_events(
    conn: "psycopg.Connection[Any]", streams: Sequence[str], wanted: Wanted, limit: int | None = None
) -> Iterator[Row]:
    """The events of streams as stored, not upcast, in order, read as they are asked for inside a transaction."""
    query: sql.Composable = sql.SQL(_STREAM).format(streams=list(streams))
    conditions = [
        sql.SQL(condition).format(getattr(wanted, name))
        for name, condition in _FILTERS.items()
        if getattr(wanted, name) is not None
    ]
    if conditions:
        query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    query += sql.SQL(" ORDER BY position LIMIT {}").format(limit)
    with conn.cursor("stream", row_factory=dict_row) as cursor:
        cursor.itersize = AT_ONCE
        yield from cursor.execute(query)


def as_act(row: Row) -> Row:
    """An act of administration as auditors are told it: who did what, when and why, of an event of its stream."""
    said = dict(row["data"])
    return {
        "position": row["position"],
        "at": row["happened_at"],
        "recorded_at": row["recorded_at"],
        "area": row["stream"].removeprefix("administration-"),
        "act": row["type"].removeprefix("administration."),
        "by": said.pop("by"),
        "reason": said.pop("reason", None),
        "what": said,
    }


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the log: of one stream or customer, and of these positions; None means all."""

    stream: str | None = None
    customer: str | None = None
    first: int | None = None
    last: int | None = None

    def upto(self, size: int) -> int:
        """Its last position in a tree of this size."""
        return size if self.last is None else min(self.last, size)

    def as_json(self) -> Row:
        """Without what is not said."""
        told = {"stream": self.stream, "customer": self.customer, "first": self.first, "last": self.last}
        return {name: value for name, value in told.items() if value is not None}


def part(conn: "psycopg.Connection[Any]", of: Part, size: int) -> Iterator[StoredEvent]:
    """The events of a part that are in a tree of this size, in order, read as a stream inside a transaction."""
    conditions: list[sql.Composable] = [sql.SQL("notification_id <= {}").format(of.upto(size))]
    if of.first is not None:
        conditions.append(sql.SQL("notification_id >= {}").format(of.first))
    if of.stream is not None:
        conditions.append(sql.SQL("originator_id = {}").format(of.stream))
    if of.customer is not None:
        conditions.append(sql.SQL("customer_id = {}").format(of.customer))
    where = sql.SQL(" AND ").join(conditions)
    query = sql.SQL("{} WHERE {} ORDER BY notification_id").format(sql.SQL(EVENT), where)
    with conn.cursor("part", row_factory=tuple_row, binary=True) as cursor:
        cursor.itersize = AT_ONCE
        for row in cursor.execute(query):
            yield StoredEvent(*row)


def as_sealed(events: Iterable[StoredEvent], of: Part, head: Head, nodes: Nodes) -> Iterator[StoredEvent]:
    """The events of a part, each found in the tree of a head, and none of them gone. Raises NotAsSealed.

    The path of one event proves the whole tile of kept leaves in which it is, and every hash beside it; so the others
    of a tile are held against these leaves. That some are gone is seen where positions or versions must have no gap:
    of a customer, or of a part of a stream, it is not.
    """
    proven, following = -1, of.first or 1
    of_positions, of_stream = of.stream is None and of.customer is None, of.customer is None and of.first is None
    for one in events:
        found = one.position if of_positions else one.version
        if (of_positions or of_stream) and found != following:
            raise proving.NotAsSealed(f"the event at {'position' if of_positions else 'version'} {following} is gone")
        following += 1
        tile = (one.position - 1) // tree.WIDTH
        if tile != proven or nodes(0, one.position - 1) != one.leaf:
            proving.path(one, head, nodes)
            proven = tile
        yield one
    last = of.upto(head.size)
    if of_positions and following <= last:
        raise proving.NotAsSealed(f"the events at positions {following} to {last} are gone")
