"""`kehu show deadlines`: which deadlines of open cases run, which are close, and which are over and not on record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from infra.cli.filters import Where, single
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows, when
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.cli.times import Until
from infra.postgres.questions.deadlines import ABOUT_DEADLINES, CHOOSABLE, STATES, running_deadlines
from projections.deadlines import CLOCKS


def deadlines(
    postgres: Postgres = "",
    clock: Annotated[str | None, typer.Option(help=f"Only the {' or '.join(CLOCKS)} clock.")] = None,
    regime: Annotated[str | None, typer.Option(help="Only cases of this regime.")] = None,
    preset: Annotated[str | None, typer.Option(help="Only deadlines by this preset.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only cases in this queue.")] = None,
    branch: Annotated[str | None, typer.Option(help="Only cases of this branch.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only cases of this owner.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only cases of this customer.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only {', '.join(STATES)}.")] = None,
    until: Until = None,
    where: Where = None,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """The deadlines that run, the earliest first: a row for each clock of an open case that was not missed yet.

    Overdue is what is over and not on record as missed: for seconds, while the worker reports it, or for good, when it
    was over for too long to be reported. A stopped clock has no row. Missed deadlines are in `kehu show case`.

    Example: kehu show deadlines --clock statutory --state "at risk" --branch Leeds
    """
    if clock not in (None, *CLOCKS):
        raise typer.BadParameter(f"use {' or '.join(CLOCKS)}", param_hint=f"--clock {clock}")
    if state not in (None, *STATES):
        raise typer.BadParameter(f"use {', '.join(STATES)}", param_hint=f"--state {state}")
    chosen = single(
        where,
        CHOOSABLE,
        clock=clock,
        regime=regime,
        preset=preset,
        queue=queue,
        branch=branch,
        owner=owner,
        customer_id=customer,
    )
    with reading(postgres, *ABOUT_DEADLINES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        print_rows(
            "Running deadlines",
            running_deadlines(answer, now, limit, chosen, state, until),
            as_json,
            as_csv,
            as_ndjson,
            people=lambda row: _for_people(row, now),
            wide=("case",),
            limit=limit,
            fresh=answer.fresh,
        )


def _for_people(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "case": row["case"],
        "clock": row["clock"],
        "state": row["state"],
        "due": row["due_at"],
        "in": when(row["due_at"], now),
        "preset": f"{row['preset']} v{row['preset_version']}",
        "queue": row["queue"],
        "owner": row["owner"],
    }
