"""`kehu audit return`: what a regulator wants counted of the complaints of a period, and the complaints behind it."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import psycopg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from domain.returns import (
    MEASURES,
    NAMES,
    OUTCOMES,
    RETURNS,
    VERDICTS,
    Chosen,
    Counts,
    Line,
    Period,
    Return,
    Row,
    rows_of,
)
from domain.values import Position
from infra import auditing
from infra.cli.filters import Where, single
from infra.cli.output import Csv, Json, Limit, Ndjson, console, print_rows
from infra.cli.reading import KnownAt
from infra.cli.servers import Postgres
from infra.cli.times import in_utc
from infra.postgres.past import known_position
from infra.postgres.questions.answer import Freshness
from infra.postgres.streams import streams

DIMENSIONS = ("branch", "product", "segment", "project_id")
DAY = ["%Y-%m-%d"]
_FRESH = """SELECT (SELECT recorded_at FROM kehu.stored_events WHERE notification_id = %(upto)s), n - %(upto)s,
        coalesce((SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM kehu.stored_events
            WHERE notification_id = %(upto)s + 1), 0)::float8
    FROM kehu.log_head"""


def regulatory_return(
    name: Annotated[str, typer.Argument(help=f"Of the return: {', '.join(sorted(RETURNS))}.")],
    since: Annotated[datetime, typer.Option(formats=DAY, help="First day of the period, where the regulator is.")],
    until: Annotated[datetime, typer.Option(formats=DAY, help="First day after the period.")],
    postgres: Postgres = "",
    branch: Annotated[str | None, typer.Option(help="Only of this branch.")] = None,
    product: Annotated[str | None, typer.Option(help="Only of this product.")] = None,
    where: Where = None,
    cases: Annotated[bool, typer.Option("--cases", help="The complaints behind the figures.")] = False,
    measure: Annotated[str | None, typer.Option(help=f"Only of this figure: {', '.join(MEASURES)}.")] = None,
    band: Annotated[str | None, typer.Option(help="Only of this band.")] = None,
    state: Annotated[str | None, typer.Option(help="Only of this state.")] = None,
    outcome: Annotated[str | None, typer.Option(help=f"Only of this outcome: {', '.join(OUTCOMES)}.")] = None,
    verdict: Annotated[str | None, typer.Option(help=f"Only of this verdict: {', '.join(VERDICTS)}.")] = None,
    known_at: KnownAt = None,
    as_of_position: Annotated[
        int | None, typer.Option("--as-of-position", min=0, help="Only by the log up to this position.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """What a regulator wants counted of the complaints of a period; --cases lists the complaints behind the figures.

    It is counted from the complaints' own events, and the same again with the same --as-of-position or --known-at. A
    reopened complaint counts once for each answer. --limit is for --cases; figures are all shown.

    Example: kehu audit return uk_disp --since 2026-01-01 --until 2026-07-01 --cases --band over_8_weeks
    """
    try:
        period = Period(since.date(), until.date())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since and --until") from error
    if name not in RETURNS:
        raise typer.BadParameter(f"use {', '.join(sorted(RETURNS))}", param_hint=f"NAME {name}")
    rule = RETURNS[name].on(period.since)
    chosen = Chosen(measure, band, state, outcome, verdict)
    _check(rule, chosen, cases)
    wanted = single(where, DIMENSIONS, branch=branch, product=product)
    with auditing.snapshot(postgres, 1) as (conn,), ExitStack() as reading:
        upto = known_position(conn, in_utc(known_at))
        upto = Position(min(upto, upto if as_of_position is None else as_of_position))
        fresh = _freshness(conn, upto)
        rows = reading.enter_context(closing(_rows(conn, rule, period, upto, wanted)))
        counts = Counts(rule)
        if not cases:
            for row in rows:
                counts.add(row)
        told: Iterator[Row | Line] = islice(filter(chosen.has, rows), limit or None) if cases else counts.lines()
        print_rows(
            f"{name} version {rule.version}, {period.since} to before {period.until}",
            map(asdict, told),
            as_json,
            as_csv,
            as_ndjson,
            people=_case_for_people if cases else _figure_for_people,
            wide=("case",),
            limit=limit if cases else 0,
            fresh=[fresh],
            about={"return": {"name": name, "version": rule.version, **asdict(period)}},
        )


def _check(rule: Return, chosen: Chosen, cases: bool) -> None:
    """Raises BadParameter for a choice that nothing could have."""
    known = {
        "measure": MEASURES,
        "band": [band.name for band in rule.bands],
        "state": rule.states.names,
        "outcome": OUTCOMES,
        "verdict": VERDICTS,
    }
    for option, names in known.items():
        if (said := getattr(chosen, option)) is None:
            continue
        if not cases:
            raise typer.BadParameter("it chooses complaints: give --cases with it", param_hint=f"--{option}")
        if said not in names:
            raise typer.BadParameter(f"use {', '.join(names)}", param_hint=f"--{option} {said}")


def _rows(
    conn: "psycopg.Connection[Any]", rule: Return, period: Period, upto: Position, wanted: Mapping[str, str]
) -> Generator[Row, None, None]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        # How many of them are about complaints is known at the end only.
        task = progress.add_task("events", total=upto)
        for events in streams(conn, "complaint", NAMES, upto, lambda read: progress.advance(task, read)):
            for row in rows_of(events, rule, period):
                if all(getattr(row, one) == value for one, value in wanted.items()):
                    yield row


def _freshness(conn: "psycopg.Connection[Any]", upto: Position) -> Freshness:
    recorded_at, behind, seconds = conn.execute(_FRESH, {"upto": upto}).fetchone() or (None, 0, 0.0)
    return Freshness("log", upto, recorded_at, behind, seconds)


def _figure_for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "figure": row["measure"] if not row["by"] else f"  {row['by']} {row['value']}",
        "complaints": row["cases"],
        "redress, minor units": row["minor"],
    }


def _case_for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    ended = row["ended_at"]
    return {
        **{name: row[name] for name in ("case", "round")},
        "begun": f"{row['begun_at']:%Y-%m-%d}",
        "ended": None if ended is None else f"{ended:%Y-%m-%d}",
        **{name: row[name] for name in ("days", "band", "state", "verdict")},
    }
