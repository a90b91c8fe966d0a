"""Followers of views over HTTP: one task reads and encodes what changes once, and each takes it at its own pace.

Who comes with an older token reads what it missed from the store, and joins the tail there. Who falls behind the tail
is cut off with a token to go on with, so that nobody's slowness needs memory.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import local
from time import monotonic
from typing import Any, Protocol

import psycopg
import structlog

from consumers.one_thread import OneThread
from consumers.resting import Resting
from domain.errors import DomainError
from domain.ports import Unavailable
from infra.errors import KehuError
from infra.http.answers import joined
from infra.http.tails import STILL_HERE, Entry, Event, Tail, entry_of, heartbeat, placed, wire
from infra.postgres.changes import Feed, Token, WrongToken, connection
from infra.postgres.following import Step, behind, newest, standing, step
from projections.views import View, seen

log = structlog.get_logger("kehu.http.changes")

AT_ONCE = 500
"""Rows that are read together."""
COALESCE = 0.2
"""Seconds in which the changes of a row become one, and many readers are woken once."""
GREETING = b"retry: 1000\n\n"
"""Milliseconds after which EventSource connects again."""
HEARTBEAT = 15.0
"""Seconds without a change after which a follower hears that the connection lives."""
RETRY = 1.0
"""Seconds between two tries while the store is away."""
READERS = 4
"""Threads, each with a connection, that read what followers missed."""
NOWHERE = Token(0, datetime(1970, 1, 1, tzinfo=UTC))
"""Where a tail begins while another version of its view is live."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a follower may see."""

    sees: Callable[[Mapping[str, Any]], bool]
    """Whether it may see a row, by its place."""
    rights: str
    """Of two followers the same when they may see the same."""


class Waiting(Protocol):
    """Knows when the log moves; used by one thread."""

    def wait(self, seconds: float) -> None:
        """Block until the log moved, and not longer than so many seconds."""

    def close(self) -> None:
        """Let go of what is held."""


class Hub:
    """All followers of one server."""

    def __init__(self, postgres: str, waiting: Waiting) -> None:
        self._postgres = postgres
        self._waiting = waiting
        self._resting = Resting(waiting.wait)
        self._tails: dict[str, Tail] = {}
        self._followers: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._connection = connection(postgres)
        self._feed = Feed(self._connection, places=True)
        self._thread = OneThread("kehu-http-changes")
        self._waits = OneThread("kehu-http-wait")
        self._readers = ThreadPoolExecutor(READERS, "kehu-http-missed")
        self._mine = local()
        self._opened: list[Any] = []

    @property
    def followers(self) -> int:
        """How many there are."""
        return sum(self._followers.values())

    @property
    def reads(self) -> bool:
        """Whether the store is read for them."""
        return self._task is not None and not self._task.done()

    async def follow(
        self, view: View, token: Token | None, sight: Sight | None, seconds: float = float("inf")
    ) -> AsyncGenerator[bytes, None]:
        """Parts of an event stream, for so many seconds: what comes after the token, without one everything.

        With `sight` a row that may not be seen is left out, and told to be removed when it was seen before. Ends when
        the follower is too slow, or the server ends. Raises Unavailable and WrongToken before the first part.
        """
        self._followers[view.name] = self._followers.get(view.name, 0) + 1
        try:
            tail = await self._tail(view)
            greeting, until = [GREETING], monotonic() + seconds
            while not self._closing and monotonic() < until:
                number = None if token is None else tail.place(token)
                if token is None or number is None:
                    found = await self._next_of(view, token)
                    if found is None:
                        for part in (*greeting, STILL_HERE):
                            yield part
                        greeting = []
                        await tail.moved()
                        continue
                    entry = entry_of(view, token or NOWHERE, found)
                    token = entry.after
                    for part in (*greeting, *_shown(entry, sight, None)):
                        yield part
                    greeting = []
                    if not entry.events and tail.place(token) is None:
                        await tail.moved()  # the tail is on its way to the build that this follower has reached
                    continue
                for part in greeting:
                    yield part
                async for after, part in self._tailing(tail, number, token, sight, until):
                    token = after
                    yield part
                if not self._closing and monotonic() < until:
                    yield wire("cut", b'{"detail":"too slow: go on with the last id"}')
                return
        finally:
            self._followers[view.name] -= 1

    async def missed(self, view: View, token: Token | None, sight: Sight | None) -> AsyncGenerator[bytes, None]:
        """The same, and ends with what there is."""
        more, greeting = True, [GREETING]
        while more and not self._closing:
            found = await self._next_of(view, token)
            if found is None:
                raise Unavailable(f"another version of {view.name} is live: its rows are others")
            entry = entry_of(view, token or NOWHERE, found)
            told = _shown(entry, sight, None) if entry.events else [heartbeat(entry.after, _rights(sight))]
            for part in (*greeting, *told):
                yield part
            greeting = []
            token, more = entry.after, found.page.more

    async def newest(self, view: View) -> Token:
        """The token of who wants to hear only of what changes from now on. Raises Unavailable."""
        return (await self._tail(view)).token

    async def _tailing(
        self, tail: Tail, number: int, token: Token, sight: Sight | None, until: float
    ) -> AsyncIterator[tuple[Token, bytes]]:
        """What comes in the tail, until the follower falls behind it, or its time is over."""
        heard = monotonic()
        while not self._closing and monotonic() < until:
            if number == tail.end:
                await tail.moved()
                if number == tail.end and monotonic() - heard >= HEARTBEAT:
                    heard = monotonic()
                    yield token, heartbeat(token, _rights(sight))
                continue
            entry = tail.entry(number)
            if entry is None:
                return
            # Whoever joined in the middle has what changed up to its moment, also in the entries after this one.
            known = (
                token if entry.before != token and token.walk is None and token.build == entry.before.build else None
            )
            for part in _shown(entry, sight, known):
                heard = monotonic()
                yield entry.after, part
            if known is None or entry.after.at > known.at or entry.after.build != known.build:
                token = entry.after
            number += 1

    async def _tail(self, view: View) -> Tail:
        """The tail of a view, begun when somebody follows it."""
        if view.name not in self._tails:
            live = await self._thread.run(self._feed.live)
            stands = standing(view, live)
            # Of another version nothing is read; it begins with the build that comes.
            token = NOWHERE if stands is None else newest(stands)
            self._tails.setdefault(view.name, Tail(view, token))
        if not self.reads:
            self._task = asyncio.create_task(self._read())
        return self._tails[view.name]

    async def _read(self) -> None:
        """Read what changes as long as somebody follows."""
        beat = monotonic()
        while not self._closing and self.followers:
            lag, away = False, False
            try:
                lag = await self._once()
            except (DomainError, KehuError, OSError) as error:
                away = True
                log.warning("followers wait for the store", error=str(error))
            except Exception:
                # Nobody else would read for them.
                away = True
                log.exception("followers wait for what nobody foresaw")
            # So often that nobody waits much longer than a heartbeat, whenever it heard of something.
            if monotonic() - beat >= HEARTBEAT / 3:
                beat = monotonic()
                for tail in self._tails.values():
                    tail.wake()
            await asyncio.sleep(RETRY if away else COALESCE)
            if away:
                continue
            await self._waits.run(self._resting.rest, lag)
        if not self._closing:
            self._tails.clear()

    async def _once(self) -> bool:
        live = await self._thread.run(self._feed.live)
        for name, tail in list(self._tails.items()):
            if not self._followers.get(name):
                del self._tails[name]
                continue
            stands = standing(tail.view, live)
            if stands is not None and tail.token == NOWHERE:
                tail.begin(newest(stands))
            while stands is not None and tail.token != newest(stands) and not self._closing:
                found = await self._thread.run(step, self._feed, tail.view, tail.token, stands, AT_ONCE)
                tail.add(entry_of(tail.view, tail.token, found))
                if not found.page.more:
                    break
        return behind(live)

    async def _next_of(self, view: View, token: Token | None) -> Step | None:
        """The next of what a follower missed, read for it alone; None while another version is live."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._next, view, token)

    def _next(self, view: View, token: Token | None) -> Step | None:
        feed: Feed | None = getattr(self._mine, "feed", None)
        if feed is None:
            shared = connection(self._postgres)
            self._opened.append(shared)
            feed = self._mine.feed = Feed(shared, places=True)
        live = standing(view, feed.live())
        try:
            return None if live is None else step(feed, view, token, live, AT_ONCE)
        except (psycopg.DataError, psycopg.ProgrammingError, ValueError, LookupError, TypeError) as error:
            # It can be read as a token and was not written by us: its key is none of this view.
            raise WrongToken(str(token)[:100]) from error

    async def close(self) -> None:
        """End all followers; again it does nothing."""
        if self._closing:
            return
        self._closing = True
        for tail in self._tails.values():
            tail.wake()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._thread.run(self._connection.close)
        self._thread.shutdown()
        # Whoever waits for the log does so for some seconds more; nobody has to wait for that.
        self._waits.submit(self._waiting.close)
        self._waits.shutdown(wait=False)
        self._readers.shutdown()
        for shared in self._opened:
            shared.close()


def _rights(sight: Sight | None) -> str:
    return "" if sight is None else sight.rights


def _shown(entry: Entry, sight: Sight | None, known: Token | None) -> Iterator[bytes]:
    """The parts of an entry that a follower is told: what it may see, and does not know already."""
    if sight is None and known is None:
        yield from entry.parts
        return
    wires, ends, rights = [], False, _rights(sight)
    rows = entry.rows if sight is not None else [None] * len(entry.events)
    for event, row in zip(entry.events, rows, strict=True):
        if known is not None and event.update is not None and event.update.at <= known.at:
            continue
        told = _told(event, row, sight)
        ends = told is not None
        if told is not None:
            wires.append(placed(told, event.token, rights))
    if entry.events and not ends:
        wires.append(heartbeat(entry.after, rights))
    yield from joined(wires)


def _told(event: Event, row: Mapping[str, Any] | None, sight: Sight | None) -> bytes | None:
    """What a follower is told of an event; None for nothing."""
    update = event.update
    if update is None:
        return event.wire
    if sight is None:
        return None if update.later else event.wire
    # Rows of counters have no places to leave, and name nobody: that one is gone is told to all.
    had = update.row is None if update.left is None else any(map(sight.sees, update.left))
    told = seen(update, row is not None and sight.sees(row), had)
    return None if told is None else event.wire if told is update else event.removed
