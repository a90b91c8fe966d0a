"""Records who reads personal data, before the answer goes out. Reads that come together are written together."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg

from infra.http.problems import Away
from infra.postgres.access_log import Access, record


class AccessLog:
    """One writer with a connection of its own: while it waits for the disk the next reads gather."""

    def __init__(self, postgres: str) -> None:
        self._postgres = postgres
        self._thread = ThreadPoolExecutor(1, "kehu-http-access")
        self._conn: psycopg.Connection[tuple[object, ...]] | None = None
        self._waiting: list[tuple[Access, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(self, access: Access) -> None:
        """Return when the read is kept. Raises Away when it cannot be: then nothing is shown."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((access, kept))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await kept

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            together, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                await loop.run_in_executor(self._thread, self._record, [access for access, _ in together])
            except psycopg.Error:
                error = Away("the read could not be recorded, so nothing is shown")
            for _, kept in together:
                if kept.done():
                    continue  # whoever asked has left
                if error is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(error)

    def _record(self, accesses: Sequence[Access]) -> None:
        if self._conn is None or self._conn.closed:
            options = "-c timezone=UTC -c statement_timeout=5s"
            self._conn = psycopg.connect(
                self._postgres, autocommit=True, connect_timeout=5, application_name="kehu-http", options=options
            )
        try:
            record(self._conn, accesses)
        except psycopg.OperationalError:
            self._conn.close()
            raise

    def close(self) -> None:
        """End the thread and close the connection."""
        self._thread.shutdown()
        if self._conn is not None:
            with suppress(psycopg.Error):
                self._conn.close()
