"""Holds the inbox against the events of the log, which are sealed: each message that led to events has its entry.

An entry that said nothing new led to no event. Of those it is only known that each came from a place in Kafka that was
read, and that no two came from the same one.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import psycopg

from domain import personal, registry
from domain.administration import SOURCE
from domain.audit import Finding
from domain.errors import DomainError
from domain.values import Fact, Recorded
from infra.errors import KehuError
from infra.kafka import codec
from infra.postgres import data_keys
from infra.postgres.data_keys import DataKeys
from infra.postgres.mapper import EVENT_COLUMNS, read_rows

Conn = psycopg.Connection[Any]
Group = list[tuple[Recorded, str, bytes | None, bytes | None]]
"""Events that one message led to: each with its topic, and key and content of the entry that points to it."""
AT_ONCE = 10_000
WITHOUT_MESSAGE = frozenset({"customer.restricted", "customer.erased"})
"""The events to which no message led: the command that forgets a customer writes them."""
_EVENTS = f"""SELECT {EVENT_COLUMNS}, i.key, i.content
    FROM kehu.stored_events e LEFT JOIN kehu.inbox i ON i.stream = e.originator_id AND i.version = e.originator_version
    ORDER BY e.originator_id, e.originator_version"""  # noqa: S608
_STRAY = """SELECT i.stream, i.version FROM kehu.inbox i LEFT JOIN kehu.stored_events e
    ON e.originator_id = i.stream AND e.originator_version = i.version
    WHERE i.version IS NOT NULL AND e.originator_id IS NULL ORDER BY 1, 2"""
_UNREAD = """SELECT i.stream, i.version FROM kehu.inbox i LEFT JOIN kehu.positions p USING (place)
    WHERE i.place IS NOT NULL AND (p.place IS NULL OR i.kafka_offset >= p.next_offset) ORDER BY 1"""
_SHARED = """SELECT min(stream), NULL FROM kehu.inbox WHERE place IS NOT NULL
    GROUP BY place, kafka_offset HAVING count(*) > 1 ORDER BY 1"""
_FORMER = "SELECT key FROM kehu.inbox WHERE place IS NULL AND key = ANY(%s)"
"""Entries of a former release do not say to which event they led."""


def inbox_findings(conn: Conn, progress: Callable[[int], None] = lambda _events: None) -> Iterator[Finding]:
    """What does not fit in the inbox, inside a transaction; `progress` hears how many events were looked at since."""
    without: dict[bytes, int] = {}
    for group in _groups(conn, progress):
        recorded = group[0][0]
        identity = codec.identity(recorded.meta)
        entries = [(key, content) for _, _, key, content in group if key is not None]
        if not entries:
            without[identity] = int(recorded.position or 0)
        elif [key for key, _ in entries] != [identity] or not _says(group, entries[0][1]):
            yield Finding("inbox-changed", int(recorded.position or 0))
    known = {bytes(key) for (key,) in conn.execute(_FORMER, (list(without),)).fetchall()}
    for identity, position in without.items():
        if identity not in known:
            yield Finding("inbox-removed", position)
    for query in (_STRAY, _UNREAD, _SHARED):
        for stream, version in conn.execute(query.encode()).fetchall():
            yield Finding("inbox-added", 0, of=stream if version is None else f"{stream}, version {version}")


def _groups(conn: Conn, progress: Callable[[int], None]) -> Iterator[Group]:
    group: Group = []
    keys = data_keys.for_reading(conn.info.dsn)
    with conn.cursor("received", binary=True) as cursor:
        cursor.execute(_EVENTS)
        while rows := cursor.fetchmany(AT_ONCE):
            for recorded, (*event, key, content) in zip(_read(conn, keys, rows), rows, strict=True):
                if recorded is None or recorded.name in WITHOUT_MESSAGE or recorded.meta.source == SOURCE:
                    continue
                if group and not _together(group[0][0], recorded):
                    yield group
                    group = []
                group.append((recorded, event[2], key, content))
            progress(len(rows))
    if group:
        yield group


def _read(conn: Conn, keys: DataKeys, rows: Sequence[tuple[Any, ...]]) -> Sequence[Recorded | None]:
    """The events of rows, with what is personal where there is a key; None for one that cannot be read.

    The walk over the log says whether that was changed; who cannot read it cannot fold it.
    """
    try:
        return read_rows([row[:6] for row in rows], partial(keys.known, conn))
    except (DomainError, KehuError, ValueError):
        if len(rows) == 1:
            return [None]
        half = len(rows) // 2
        return [*_read(conn, keys, rows[:half]), *_read(conn, keys, rows[half:])]


def _together(first: Recorded, other: Recorded) -> bool:
    return first.originator_id == other.originator_id and _named(first) == _named(other)


def _named(recorded: Recorded) -> tuple[str, str]:
    return recorded.meta.source, recorded.meta.event_id


def _says(group: Group, content: bytes | None) -> bool:
    """Whether what the entry says is one of the events: a message is among those that it led to."""
    if any(topic != registry.of(recorded.event).topic for recorded, topic, _, _ in group):
        return True  # stored by a former release: what its message said then is not known any more
    if any(_is_less_than_was_said(recorded) for recorded, _, _, _ in group):
        return True
    return any(codec.content(Fact(recorded.event, recorded.meta)) == content for recorded, _, _, _ in group)


def _is_less_than_was_said(recorded: Recorded) -> bool:
    """Whether the event is not all that its message said: it is hidden or erased, or was not kept (ids of a merge)."""
    words = {personal.HIDDEN, personal.ERASED, (personal.HIDDEN,), (personal.ERASED,)}
    return recorded.name == "customer.merged" or not words.isdisjoint(personal.said(recorded.event).values())
