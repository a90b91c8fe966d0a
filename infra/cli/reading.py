"""Reading answers of read models that are as new as was asked for."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Annotated

import psycopg
import typer

from domain.values import Position
from infra.cli.servers import connected
from infra.postgres.questions.answer import Answer
from infra.postgres.read_models import PostgresReadModels
from projections.declare import Projection

MinPosition = Annotated[
    int, typer.Option("--min-position", min=0, help="Wait until this position of the log is shown.")
]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for --min-position at most.")]
WAIT = 5.0


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
