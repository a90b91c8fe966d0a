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


class Connection(Generic[R]):
    """A lazy connection in autocommit mode, in UTC. `name` is what PostgreSQL shows as application name."""

    def __init__(self, conninfo: str, name: str, row_factory: RowFactory[R], options: str = "") -> None:
        self._conninfo = conninfo
        self._name = name
        self._row_factory = row_factory
        self._options = f"-c timezone=UTC {options}"
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
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise Unavailable(f"{str(error).strip().splitlines()[0]}: run `kehu setup`") from error
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError) as error:
            self.close()
            raise Unavailable(str(error).strip()) from error

    def close(self) -> None:
        """Close the connection; the next use makes another."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
