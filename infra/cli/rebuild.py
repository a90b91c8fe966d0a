"""`kehu rebuild`: a read model made again from the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from time import monotonic
from typing import Annotated, Any

import orjson
import structlog
import typer
from psycopg import sql
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from consumers.projector import Projector
from domain.values import Position
from infra import bootstrap
from infra.cli.output import Json, console, print_rows
from infra.cli.servers import Postgres, connected
from infra.errors import KehuError
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels, schema_of
from projections.catalogue import ALL
from projections.declare import Projection

BATCH = 2000


class UnknownProjection(KehuError):
    """There is no such read model."""


class Stopped(KehuError):
    """A projection stopped at an event that it cannot fold. Mend it and run `kehu rebuild` again."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a read model holds at a position of the log."""

    position: Position
    rows: str


NOWHERE = Digest(Position(-1), "")


def rebuild(
    name: Annotated[str, typer.Argument(help=f"{', '.join(p.name for p in ALL)}, or all.")],
    postgres: Postgres = "",
    as_json: Json = False,
) -> None:
    """Empty a read model and fold the log again from its beginning. Readers see it grow meanwhile.

    The rows before and after are compared at the same position of the log. A worker may run: its projector and this
    one fold the same events, a batch that both made is written once, and the loser takes the next. Only the comparison
    is left out when the worker was ahead. A projection that had stopped in a worker goes on there after a restart.

    Example: kehu rebuild retention_risk
    """
    names = name.replace("-", "_")
    chosen = [projection for projection in ALL if names in ("all", projection.name)]
    if not chosen:
        raise UnknownProjection(f"{name}: use {', '.join(p.name for p in ALL)} or all")
    say_progress = console(stderr=True)
    say_progress.print(f"Readers see {name} empty first, and then as far as it is rebuilt.", style="yellow")
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    log, models = PostgresLog(postgres), PostgresReadModels(postgres)
    try:
        with _quiet(), Progress(*columns, console=say_progress) as progress:
            rows = [_rebuild(one, log, models, progress, postgres) for one in chosen]
    finally:
        log.close()
        models.close()
    print_rows("Rebuilt", rows, as_json, people=_for_people)


def _rebuild(
    projection: Projection, log: PostgresLog, models: PostgresReadModels, progress: Progress, postgres: str
) -> dict[str, Any]:
    now = bootstrap.now()
    before = _digest(projection, models, postgres, now)
    models.reset(projection)
    head = log.head()
    task = progress.add_task(projection.name, total=head)
    started = monotonic()
    after = NOWHERE
    projector = Projector(log, models, [projection])
    while (position := models.position(projection)) < head:
        # The comparison needs the very position at which the old rows stood.
        left = before.position - position
        projector.batch = min(BATCH, left) if left > 0 else BATCH
        read = projector.run_once()
        if error := projector.stopped.get(projection.name):
            raise Stopped(f"{projection.name}: {error}")
        position = models.position(projection)
        if not read and position < head:
            raise Stopped(f"{projection.name}: the log has no event after position {position}, its head is {head}")
        if position == before.position:
            after = _digest(projection, models, postgres, now)
        progress.update(task, completed=position)
    seconds = monotonic() - started
    comparable = before.position > 0 and after != NOWHERE
    return {
        "projection": projection.name,
        "version": projection.version,
        "events": head,
        "seconds": round(seconds, 3),
        "events_per_second": round(head / seconds) if seconds else None,
        "compared_at": before.position if comparable else None,
        "same_rows": after.rows == before.rows if comparable else None,
    }


def _digest(projection: Projection, models: PostgresReadModels, postgres: str, now: datetime) -> Digest:
    """The rows as they are at this moment, or NOWHERE when another projector writes them meanwhile."""
    position = models.position(projection)
    rows = models.digest(projection) if projection.sweep is None else _swept(projection, postgres, now)
    return Digest(position, rows) if models.position(projection) == position else NOWHERE


def _swept(projection: Projection, postgres: str, now: datetime) -> str:
    """A digest of rows that change as time passes: all are taken to `now`, whenever they were evaluated last."""
    assert projection.sweep is not None
    (table,) = projection.tables
    digest = blake2b(digest_size=16)
    statement = sql.SQL("SELECT * FROM {} ORDER BY {}").format(
        sql.Identifier(schema_of(projection), table.name), sql.SQL(", ").join(map(sql.Identifier, table.key))
    )
    with connected(postgres) as conn, conn.cursor("rows") as rows:
        for row in rows.execute(statement):
            del row["position"]
            digest.update(orjson.dumps(projection.sweep(row, now), default=str, option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest()


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    same = {True: "equal", False: "differs", None: "not compared"}[row["same_rows"]]
    return {
        "projection": row["projection"],
        "version": row["version"],
        "events": f"{row['events']:,}",
        "seconds": f"{row['seconds']:.1f}",
        "events/s": None if row["events_per_second"] is None else f"{row['events_per_second']:,}",
        "rows as before": same,
        "compared at": row["compared_at"],
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log: that a worker was faster is expected here, and why a projection stopped is our error."""
    known = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**known)


class _Rate(ProgressColumn):
    """Events per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")
