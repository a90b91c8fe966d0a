"""PostgreSQL for the HTTP server: short questions in a few threads, each with a connection, and long ones beside them.

The questions are synchronous code, so that the command line asks the same. A thread keeps its connection: nobody waits
for another's, and a question costs no more than its round trips.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, local
from time import monotonic
from typing import Generic, TypeVar

import psycopg
from psycopg.rows import dict_row

from infra.errors import KehuError
from infra.http.problems import Behind, TooMany
from infra.postgres.past import Moment
from infra.postgres.questions.answer import Answer, Connection
from infra.replay import replay
from projections.declare import Projection

T = TypeVar("T")
LOOK = 0.02
"""Seconds between two looks at the positions, for all who wait together."""
SHORT, LONG = "15s", 60
"""How long a short question may take, and seconds in which the reader of a long one must have taken a part of it."""
_POSITIONS = "SELECT name, position FROM kehu.projections"


class Store:
    """Asks PostgreSQL, off the event loop."""

    def __init__(self, postgres: str, connections: int, exports: int, export_seconds: int) -> None:
        self._postgres = postgres
        self._short = ThreadPoolExecutor(connections, "kehu-http")
        self._long = ThreadPoolExecutor(exports, "kehu-http-long")
        self._changing = ThreadPoolExecutor(1, "kehu-http-changing")
        self._free = exports
        self._export_seconds = export_seconds
        self._mine = local()
        self._opened: list[Connection] = []
        self._looking: asyncio.Task[dict[str, int]] | None = None
        self._looked = (0.0, dict[str, int]())

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """The answer to a short question, from one snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._short, self._asked, question)

    async def change(self, change: Callable[[Connection], T]) -> T:
        """What a change answers that was made in one transaction; one after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._changing, self._asked, change, True)

    async def wait_for(self, projections: Sequence[Projection], position: int, seconds: float) -> None:
        """Return when these read models show a position. Raises Behind when they do not within so many seconds."""
        until = monotonic() + seconds
        while True:
            known = await self._positions()
            late = {one.name: known.get(one.name, 0) for one in projections if known.get(one.name, 0) < position}
            if not late:
                return
            if monotonic() >= until:
                told = ", ".join(f"{name} is at position {at}" for name, at in late.items())
                raise Behind(f"{told} of {position} after {seconds:.2g} s", positions=late)
            await asyncio.sleep(LOOK)

    async def ask_past(self, projections: Sequence[Projection], past: "Past", question: Callable[[Answer], T]) -> T:
        """The answer as of a moment that is over: the log is replayed into temporary tables. Raises TooMany."""
        return await self._beside(projections, past, question)

    async def ask_long(self, question: Callable[[Answer], T]) -> T:
        """The answer to a question that reads the log, beside the short ones. Raises TooMany."""
        return await self._beside((), None, question)

    async def _beside(
        self, projections: Sequence[Projection], past: "Past | None", question: Callable[[Answer], T]
    ) -> T:
        found = self.export(projections, past, lambda answer: (question(answer), iter(())))
        try:
            return await found.begin()
        finally:
            found.close()

    def export(self, projections: Sequence[Projection], past: "Past | None", begin: "Begin[T]") -> "Export[T]":
        """An answer that is read part by part, beside the short questions. Raises TooMany when no place is free."""

        def answer(conn: Connection) -> Answer:
            position = replay(conn, projections, *past) if past is not None else None
            conn.commit()
            _read_only(conn)
            return Answer(conn, *projections, as_of=position)

        return self.made(answer, begin)

    def made(self, make: Callable[[Connection], Answer], begin: "Begin[T]") -> "Export[T]":
        """The same of what is made over a connection of its own. Raises TooMany when no place is free."""
        if not self._free:
            raise TooMany("as many exports and questions about the past as may run are running", {"Retry-After": "5"})
        self._free -= 1

        def give_back() -> None:
            self._free += 1

        def start() -> tuple[Connection, Answer]:
            conn = self._open(f"{self._export_seconds}s")
            try:
                return conn, make(conn)
            except BaseException:
                conn.close()
                raise

        return Export(self._long, start, begin, give_back, self._export_seconds)

    def close(self) -> None:
        """End the threads and close the connections."""
        self._short.shutdown()
        self._long.shutdown()
        self._changing.shutdown()
        for conn in self._opened:
            conn.close()

    async def _positions(self) -> dict[str, int]:
        """How far each read model is: one look for all who ask at the same time."""
        if monotonic() - self._looked[0] < LOOK / 2:
            return self._looked[1]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> dict[str, int]:
        found = await self.ask(lambda conn: {row["name"]: row["position"] for row in conn.execute(_POSITIONS)})
        self._looked = monotonic(), found
        return found

    def _asked(self, question: Callable[[Connection], T], writes: bool = False) -> T:
        conn: Connection | None = getattr(self._mine, "conn", None)
        if conn is None or conn.closed:
            conn = self._mine.conn = self._open(SHORT)
            if not writes:
                _read_only(conn)
            self._opened.append(conn)
        try:
            answer = question(conn)
            conn.commit()
        except psycopg.OperationalError:
            self._forget(conn)
            raise
        except BaseException:
            with suppress(psycopg.Error):
                conn.rollback()
            raise
        return answer

    def _forget(self, conn: Connection) -> None:
        conn.close()
        self._opened.remove(conn)
        self._mine.conn = None

    def _open(self, limit: str) -> Connection:
        options = (
            f"-c timezone=UTC -c search_path=kehu -c lock_timeout=3s -c statement_timeout={limit}"
            f" -c idle_in_transaction_session_timeout={LONG}s"
        )
        return psycopg.connect(
            self._postgres, row_factory=dict_row, connect_timeout=5, application_name="kehu-http", options=options
        )


Past = tuple[Moment, Sequence[str]]
"""A moment that is over, and the customers that count: all of them when none is named."""
Begin = Callable[[Answer], tuple[T, Iterator[bytes]]]
"""What is known of an answer when it begins, and its parts."""


class Export(Generic[T]):
    """An answer that is read part by part: in threads, from a connection and a snapshot of its own."""

    def __init__(
        self,
        threads: ThreadPoolExecutor,
        start: Callable[[], tuple[Connection, Answer]],
        begin: "Begin[T]",
        ended: Callable[[], None],
        seconds: float,
    ) -> None:
        self._threads, self._start, self._begin, self._ended = threads, start, begin, ended
        self._until = monotonic() + seconds
        self._lock = Lock()
        self._conn: Connection | None = None
        self._parts: Iterator[bytes] = iter(())
        self._closed = False

    async def begin(self) -> T:
        """What is known when the answer begins."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._begun)

    async def parts(self) -> AsyncIterator[bytes]:
        """The parts in turn; closed at their end, or when nobody wants more of them."""
        loop = asyncio.get_running_loop()
        try:
            while (part := await loop.run_in_executor(self._threads, self._next)) is not None:
                yield part
        finally:
            self.close()

    def close(self) -> None:
        """Give back the place and the connection, also in the middle."""
        if not self._closed:
            self._closed = True
            self._ended()
            self._threads.submit(self._disconnect)

    def _begun(self) -> T:
        with self._lock:
            self._conn, answer = self._start()
            told, self._parts = self._begin(answer)
            return told

    def _next(self) -> bytes | None:
        with self._lock:
            if self._closed or monotonic() > self._until:
                raise Cut("it was not read to its end in time")
            return next(self._parts, None)

    def _disconnect(self) -> None:
        with self._lock:
            if self._conn is not None:
                self._conn.close()


class Cut(KehuError):
    """An export ended before its end. Read it faster, or ask for less."""


def _read_only(conn: Connection) -> None:
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
