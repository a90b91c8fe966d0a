"""Answers of read models: from one snapshot, as new as was asked for, and each says how fresh it is."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from time import monotonic
from typing import Annotated, Any

import psycopg
import typer

from domain.values import Position
from infra.cli.output import Freshness
from infra.cli.servers import Connection, connected
from infra.postgres import ops
from infra.postgres.read_models import PostgresReadModels
from projections.declare import Projection

MinPosition = Annotated[
    int, typer.Option("--min-position", min=0, help="Wait until this position of the log is shown.")
]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for --min-position at most.")]
WAIT = 5.0

_FRESH = """SELECT p.name AS projection, p.position, folded.recorded_at, head.n - p.position AS behind,
        greatest(coalesce(extract(epoch FROM clock_timestamp() - waiting.recorded_at), 0), 0)::float8 AS lag_seconds
    FROM kehu.projections p CROSS JOIN kehu.log_head head
    LEFT JOIN kehu.stored_events folded ON folded.notification_id = p.position
    LEFT JOIN kehu.stored_events waiting ON waiting.notification_id = p.position + 1
    WHERE p.name = ANY(%(names)s) ORDER BY array_position(%(names)s::text[], p.name)"""


class Answer:
    """What read models hold at one moment; used inside of one transaction."""

    def __init__(self, conn: Connection, *projections: Projection) -> None:
        self._conn = conn
        self.fresh = [Freshness(**row) for row in self.rows(_FRESH, {"names": [p.name for p in projections]})]

    def rows(self, statement: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """All rows of a statement that gives few."""
        return self._conn.execute(statement.encode(), values).fetchall()

    def stream(self, statement: str, values: Mapping[str, object] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a statement as they are read, however many."""
        return ops.streamed(self._conn, statement, values)


@contextmanager
def reading(postgres: str, *projections: Projection, min_position: int = 0, wait: float = WAIT) -> Iterator[Answer]:
    """One snapshot of these read models, when all show the position. Raises Behind when that takes too long."""
    if min_position:
        until = monotonic() + wait
        with closing(PostgresReadModels(postgres)) as models:
            for projection in projections:
                models.wait_for(projection, Position(min_position), max(0.0, until - monotonic()))
    with connected(postgres) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        yield Answer(conn, *projections)
