"""The newest changes of a view, encoded once and kept for all who follow it; bounded in bytes, whoever reads or not."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from infra.http.answers import joined
from infra.postgres.changes import Token
from infra.postgres.following import Step
from infra.view_events import happened_to, notice, structured
from projections.views import View

KEPT = 4 * 1024 * 1024
"""Bytes of a tail."""
STILL_HERE = b": still here\n\n"


class Event(NamedTuple):
    """One event of a stream as it goes over the wire, and what tells who may see it."""

    at: datetime | None
    """When the row changed; None for what is about no row."""
    row: str | None
    wire: bytes


@dataclass(frozen=True)
class Entry:
    """What comes between two tokens."""

    before: Token
    after: Token
    events: Sequence[Event]

    @cached_property
    def size(self) -> int:
        """Bytes, about."""
        return 200 + sum(len(event.wire) + len(event.row or "") for event in self.events)

    @cached_property
    def parts(self) -> Sequence[bytes]:
        """All of it, for the many who may see everything."""
        return list(joined(event.wire for event in self.events))

    @cached_property
    def rows(self) -> Sequence[dict[str, Any] | None]:
        """What each event says of its row, for those who may see some; read when the first of them comes."""
        return [None if event.row is None else orjson.loads(event.row) for event in self.events]


def entry_of(view: View, before: Token, step: Step) -> Entry:
    """A step as events. Each has an `id` where a reader can go on: the last of those that changed at one moment."""
    page, events = step.page, list[Event]()
    walking = page.token.walk is not None or before.walk is not None or before.build != page.token.build
    for number, update in enumerate(page.updates):
        last = number + 1 == len(page.updates)
        token = None
        if last:
            token = None if step.ends else page.token
        elif not walking and page.updates[number + 1].at != update.at:
            token = Token(page.token.build, update.at)
        said = structured(view, step.epoch, update)
        events.append(Event(update.at, update.row, wire(happened_to(update), said, token)))
    at = page.token.at
    if step.begins:
        events.insert(0, Event(None, None, wire("restarted", notice(view, step.epoch, at, "restarted"))))
    if step.ends:
        events.append(Event(None, None, wire("complete", notice(view, step.epoch, at, "complete"), page.token)))
    return Entry(before, page.token, events)


def wire(happened: str, said: bytes, token: Token | None = None) -> bytes:
    """An event of the EventSource format. JSON has no line breaks."""
    place = b"" if token is None else b"id: %s\n" % str(token).encode()
    return b"event: %s\n%sdata: %s\n\n" % (happened.encode(), place, said)


def heartbeat(token: Token) -> bytes:
    """Nothing happened; where a reader can go on, which it remembers without an event."""
    return STILL_HERE[:-1] + b"id: %s\n\n" % str(token).encode()


class Tail:
    """Entries one after the other, the oldest forgotten when there are too many bytes."""

    def __init__(self, view: View, token: Token, kept: int = KEPT) -> None:
        self.view = view
        self.token = token
        """Where it ends."""
        self._kept = kept
        self._entries: deque[Entry] = deque()
        self._first = 0
        """The number of the oldest entry."""
        self._bytes = 0
        self._moved: asyncio.Future[None] | None = None

    def begin(self, token: Token) -> None:
        """Begin elsewhere, with nothing."""
        self._first, self._bytes, self.token = self.end, 0, token
        self._entries.clear()
        self.wake()

    def add(self, entry: Entry) -> None:
        """What comes next; who waits for it is woken."""
        self._entries.append(entry)
        self._bytes += entry.size
        self.token = entry.after
        while self._bytes > self._kept and len(self._entries) > 1:
            self._bytes -= self._entries.popleft().size
            self._first += 1
        self.wake()

    def wake(self) -> None:
        """Wake all who wait."""
        moved, self._moved = self._moved, None
        if moved is not None and not moved.done():
            moved.set_result(None)

    async def moved(self) -> None:
        """Return when something was added, or nothing for a while."""
        if self._moved is None:
            self._moved = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._moved)

    @property
    def end(self) -> int:
        """The number that the next entry will have."""
        return self._first + len(self._entries)

    def entry(self, number: int) -> Entry | None:
        """An entry; None when it is forgotten."""
        return self._entries[number - self._first] if number >= self._first else None

    def place(self, token: Token) -> int | None:
        """The number of the entry to go on with for who has everything up to a token; None when it is not here."""
        if token == self.token:
            return self.end
        for number, entry in enumerate(self._entries, self._first):
            if entry.before == token:
                return number
        if token.walk is not None or self.token.walk is not None or token.build != self.token.build:
            return None
        # Somewhere within, or ahead: the events up to that moment are left out by who reads.
        number, begins = self.end, self.token
        for entry in reversed(self._entries):
            if entry.before.walk is not None or entry.before.build != token.build or entry.after.at <= token.at:
                break
            number, begins = number - 1, entry.before
        return number if token.at >= begins.at else None
