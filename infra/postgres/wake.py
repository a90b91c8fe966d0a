"""Waits until something is appended to the log, or for a moment: a LISTEN connection can die without a word."""

from select import select
from threading import Event
from time import monotonic

import psycopg

from infra.postgres.event_store import CHANNEL

_never = Event()


class Listener:
    """A connection that listens; used by one thread. It is made anew after it broke."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._conn: psycopg.Connection[tuple[object, ...]] | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def wait(self, seconds: float) -> None:
        """Return when an append was committed since the last call, and after `seconds` at the latest; never fails.

        A new connection may have missed one, so the first call returns at once.
        """
        until = monotonic() + seconds
        try:
            if self._conn is None:
                self._conn = psycopg.connect(
                    self._conninfo, autocommit=True, connect_timeout=5, application_name="kehu-wake"
                )
                self._conn.execute(f"LISTEN {CHANNEL}")
                return
            # Not `Connection.notifies`, which looks ten times a second whether the process was interrupted.
            heard = False
            while not heard and select([self._conn], [], [], max(0.0, until - monotonic()))[0]:
                self._conn.pgconn.consume_input()
                while self._conn.pgconn.notifies():
                    heard = True
        except psycopg.Error:
            self.close()
            _never.wait(max(0.0, until - monotonic()))
