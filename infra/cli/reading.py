"""Reading answers of read models that are as new as was asked for, or as old."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from time import monotonic
from typing import Annotated

import psycopg
import typer
from rich.progress import TimeRemainingColumn

from domain.values import Position
from infra import bootstrap
from infra.cli.progress import events, progress
from infra.cli.servers import Connection, connected
from infra.cli.times import at_time
from infra.postgres.past import Moment, known_position
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.identity import ever_linked
from infra.postgres.read_models import PostgresReadModels
from infra.replay import How, replay
from projections.customers import CUSTOMERS
from projections.declare import Projection

MinPosition = Annotated[
    int, typer.Option("--min-position", min=0, help="Wait until this position of the log is shown.")
]
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for --min-position at most.")]
WAIT = 5.0
At = Annotated[datetime | None, at_time("As of this time, by what had happened until then; may lie ahead")]
KnownAt = Annotated[datetime | None, at_time("Only by what had been recorded until this time, what the bank knew")]
EVERYBODY: Sequence[str] = ()


@contextmanager
def reading(
    postgres: str,
    *projections: Projection,
    min_position: int = 0,
    wait: float = WAIT,
    at: datetime | None = None,
    known_at: datetime | None = None,
    customers: Sequence[str] = EVERYBODY,
) -> Iterator[tuple[Answer, datetime]]:
    """One snapshot of these read models, and the moment that is asked about.

    That is now, or `at`, or else `known_at`. For a moment that is over, and for what was known by one, the log is
    replayed, for some `customers` only when no others are asked about; for one that lies ahead the read models are
    asked as they are. Raises Behind when to show `min_position` takes too long.
    """
    present = bootstrap.now()
    now = at or known_at or present
    past = known_at is not None or now < present
    if past and min_position:
        raise typer.BadParameter("it waits for the present: leave out --at and --known-at", param_hint="--min-position")
    if min_position:
        until = monotonic() + wait
        with closing(PostgresReadModels(postgres)) as models:
            for projection in projections:
                models.wait_for(projection, Position(min_position), max(0.0, until - monotonic()))
    with connected(postgres) as conn:
        as_of = _replayed(postgres, conn, projections, Moment(now, known_at), customers) if past else None
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        yield Answer(conn, *projections, as_of=as_of), now


def linked(postgres: str, customer_id: str) -> Sequence[str]:
    """All that were ever one with a customer: whoever was so at another moment is among them."""
    with reading(postgres, CUSTOMERS) as (answer, _):
        return ever_linked(answer, customer_id)


def _replayed(
    postgres: str, conn: Connection, projections: Sequence[Projection], moment: Moment, customers: Sequence[str]
) -> Position:
    with progress(events(), TimeRemainingColumn()) as bar:
        # How many of them the read models want is known at the end only; for some customers they are few.
        task = bar.add_task("replaying", total=None if customers else known_position(conn, moment.known_by))
        conn.commit()
        how = How(lambda read: bar.advance(task, read), postgres, os.cpu_count() or 1)
        return replay(conn, projections, moment, customers, how)
