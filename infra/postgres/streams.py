"""Whole streams of one kind, one after the other by the primary key, in little memory however long the log is."""

from collections.abc import Callable, Collection, Generator, Iterator
from itertools import groupby
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from domain import registry
from domain.values import Position, Recorded, StreamName
from infra.postgres.data_keys import NONE
from infra.postgres.mapper import EVENT_COLUMNS
from infra.postgres.slices import decoded

AT_ONCE = 2_000
# Names of streams are ordered by their bytes, in which "." follows "-".
_STREAMS = """SELECT {columns} FROM kehu.stored_events
    WHERE originator_id >= {begin} AND originator_id < {kind} || '.'
        AND notification_id <= {upto} AND topic = ANY({topics})
    ORDER BY originator_id, originator_version"""


def streams(
    conn: "psycopg.Connection[Any]",
    kind: str,
    names: Collection[str],
    upto: Position,
    told: Callable[[int], None],
    begin: StreamName | None = None,
) -> Generator[list[Recorded], None, None]:
    """The events of these names of each stream of a kind, inside a transaction; personal fields stay hidden.

    From the stream `begin` on, else from the first. `told` hears how many events were read since. Raises CannotFold.
    """
    query = sql.SQL(_STREAMS).format(
        columns=sql.SQL(EVENT_COLUMNS),
        kind=kind,
        begin=begin or f"{kind}-",
        upto=upto,
        topics=registry.topics(names),
    )

    def events(cursor: "psycopg.ServerCursor[Any]") -> Iterator[Recorded]:
        while rows := cursor.fetchmany(AT_ONCE):
            yield from decoded(rows, lambda _customers: NONE, ())
            told(len(rows))

    with conn.cursor("streams", row_factory=tuple_row, binary=True) as cursor:
        cursor.execute(query)
        for _, stream in groupby(events(cursor), key=lambda one: one.originator_id):
            yield list(stream)
