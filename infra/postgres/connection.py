"""One connection that is made when it is needed and again after it broke, used by one thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.rows import RowFactory, tuple_row

from domain.ports import Unavailable
from infra.postgres import arrays

R = TypeVar("R")
NETWORK = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""A network that swallows packets is noticed in ten seconds, not in hours. Without meaning for unix sockets."""

# A client that is frozen inside COPY holds its locks against every timeout of PostgreSQL, so whoever waits too long for
# a lock ends the transactions of its kind that wait for their client. A slow client is not frozen: between two looks
# its statement ends, or its COPY has more bytes.
_WAITING = """SELECT a.pid, a.backend_start, a.xact_start, a.query_start, a.state_change, c.bytes_processed
    FROM pg_stat_activity a LEFT JOIN pg_stat_progress_copy c ON c.pid = a.pid
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND a.application_name = current_setting('application_name')
    AND a.wait_event = 'ClientRead' AND a.xact_start < clock_timestamp() - interval '2 s'"""
_END = "SELECT pg_terminate_backend(pid) FROM unnest(%s::int4[]) AS frozen (pid)"
BETWEEN_LOOKS = 1.0
"""Seconds without a sign of life after which a client that holds locks counts as frozen."""


class Connection(Generic[R]):
    """A lazy connection in autocommit mode, in UTC, that waits no longer than three seconds for a lock.

    `name` is what PostgreSQL shows as application name, and the kind of those whose frozen transactions it ends.
    """

    def __init__(self, conninfo: str, name: str, row_factory: RowFactory[R], options: str = "") -> None:
        self._conninfo = conninfo
        self._name = name
        self._row_factory = row_factory
        self._options = f"-c timezone=UTC -c lock_timeout=3s -c idle_in_transaction_session_timeout=4s {options}"
        self._conn: psycopg.Connection[R] | None = None

    @contextmanager
    def use(self) -> "Iterator[psycopg.Connection[R]]":
        """The connection; raises Unavailable when the server is away or the schema is missing.

        After an error of the server it is closed: whatever happened to a transaction, only a new one can tell.
        """
        try:
            if self._conn is None or self._conn.closed:
                connect: Callable[..., psycopg.Connection[Any]] = psycopg.connect
                self._conn = connect(
                    self._conninfo,
                    autocommit=True,
                    row_factory=self._row_factory,
                    connect_timeout=5,
                    **NETWORK,
                    application_name=self._name,
                    options=self._options,
                )
                arrays.register(self._conn)
            yield self._conn
        except psycopg.errors.LockNotAvailable as error:
            raise Unavailable(f"waited for a lock, ended {self._end_frozen()} frozen transactions") from error
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise Unavailable(f"{str(error).strip().splitlines()[0]}: run `kehu setup`") from error
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
            self.close()
            raise Unavailable(str(error).strip()) from error

    def _end_frozen(self) -> int:
        assert self._conn is not None
        try:
            before = self._waiting()
            self._conn.execute("SELECT pg_sleep(%s)", (BETWEEN_LOOKS,))
            frozen = [row[0] for row in before & self._waiting()]
            return len(self._conn.execute(_END, (frozen,)).fetchall())
        except psycopg.OperationalError:
            self.close()
            return 0

    def _waiting(self) -> set[tuple[Any, ...]]:
        """Transactions of our kind that wait for their client, each with all that changes when it goes on."""
        assert self._conn is not None
        with self._conn.cursor(row_factory=tuple_row) as cur:
            return set(cur.execute(_WAITING).fetchall())

    def close(self) -> None:
        """Close the connection; the next use makes another."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
