"""The newest changes of a view, encoded once and kept for all who follow it; bounded in bytes, whoever reads or not."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from infra.http.answers import joined
from infra.postgres.changes import Token
from infra.postgres.following import Step
from infra.view_events import happened_to, notice, structured
from projections.views import Update, View

KEPT = 4 * 1024 * 1024
"""Bytes of a tail."""
STILL_HERE = b": still here\n\n"


class Event(NamedTuple):
    """One event of a stream as it goes over the wire, and what tells who may see it."""

    update: Update | None
    """What became of a row; None for what is about no row."""
    wire: bytes
    """Without its `id`."""
    removed: bytes
    """The same for who has the row and may see it no more."""
    token: Token | None

    @property
    def later(self) -> bool:
        """Whether it is only for those who see some rows."""
        return self.update is not None and self.update.later


@dataclass(frozen=True)
class Entry:
    """What comes between two tokens."""

    before: Token
    after: Token
    events: Sequence[Event]

    @cached_property
    def size(self) -> int:
        """Bytes, about."""
        return 200 + sum(map(_size, self.events))

    @cached_property
    def parts(self) -> Sequence[bytes]:
        """All of it, for the many who may see everything."""
        wires = [placed(event.wire, event.token, "") for event in self.events if not event.later]
        if self.events and self.events[-1].later:
            wires.append(heartbeat(self.after))
        return list(joined(wires))

    @cached_property
    def rows(self) -> Sequence[dict[str, Any] | None]:
        """What each event says of its row, for those who may see some; read when the first of them comes."""
        rows = (event.update and event.update.row for event in self.events)
        return [None if row is None else orjson.loads(row) for row in rows]


def _size(event: Event) -> int:
    row = None if event.update is None else event.update.row
    return len(event.wire) + len(row or "") + (len(event.removed) if event.removed is not event.wire else 0)


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
        told, gone = wire(happened_to(update), structured(view, step.epoch, update)), b""
        if update.left and update.row is not None:
            gone = wire("removed", structured(view, step.epoch, update._replace(row=None)))
        events.append(Event(update, told, gone or told, token))
    at = page.token.at
    if step.begins:
        said = wire("restarted", notice(view, step.epoch, at, "restarted"))
        events.insert(0, Event(None, said, said, None))
    if step.ends:
        said = wire("complete", notice(view, step.epoch, at, "complete"))
        events.append(Event(None, said, said, page.token))
    return Entry(before, page.token, events)


def wire(happened: str, said: bytes) -> bytes:
    """An event of the EventSource format. JSON has no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (happened.encode(), said)


def placed(told: bytes, token: Token | None, rights: str) -> bytes:
    """An event with an `id`: where a reader with these rights can go on."""
    return told if token is None else b"id: %s\n%s" % (place_of(token, rights).encode(), told)


def place_of(token: Token, rights: str) -> str:
    """A token of the feed as a follower has it: with what its rights were, since with others it has other rows."""
    return f"{token}~{rights}" if rights else str(token)


def read_place(text: str) -> tuple[Token, str]:
    """The token, and the rights. Raises WrongToken."""
    token, _, rights = text.partition("~")
    return Token.read(token), rights


def heartbeat(token: Token, rights: str = "") -> bytes:
    """Nothing happened; where a reader can go on, which it remembers without an event."""
    return STILL_HERE[:-1] + b"id: %s\n\n" % place_of(token, rights).encode()


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
