"""One connection that is made when it is needed and again after it broke, used by one thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.rows import RowFactory

from domain.ports import Unavailable

R = TypeVar("R")
NETWORK = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""A network that swallows packets is noticed in ten seconds, not in hours. Without meaning for unix sockets."""

# A client that is frozen inside COPY holds its locks against every timeout of PostgreSQL, so whoever waits too long for
# a lock ends the transactions of its kind that have been waiting for their client.
_END_FROZEN = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND application_name = current_setting('application_name')
    AND wait_event = 'ClientRead' AND xact_start < clock_timestamp() - interval '2 s'"""


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
            return len(self._conn.execute(_END_FROZEN).fetchall())
        except psycopg.OperationalError:
            self.close()
            return 0

    def close(self) -> None:
        """Close the connection; the next use makes another."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
