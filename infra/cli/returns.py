"""`kehu audit return`: what a regulator wants counted of the complaints of a period, and the complaints behind it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from domain.returns import MEASURES, OUTCOMES, RETURNS, VERDICTS, Chosen, Period
from domain.values import Position
from infra import auditing, bootstrap, returning
from infra.cli.filters import Where, single
from infra.cli.output import Csv, Json, Limit, Ndjson, Row, print_rows
from infra.cli.progress import progress
from infra.cli.reading import KnownAt
from infra.cli.servers import Postgres
from infra.postgres.as_of import AsOf

DAY = ["%Y-%m-%d"]


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
    chosen = Chosen(measure, band, state, outcome, verdict)
    wanted = single(where, returning.DIMENSIONS, branch=branch, product=product)
    question = returning.Question(name, period, wanted, chosen)
    _check(question, cases)
    asked = AsOf(as_of_position, known_at)
    with auditing.snapshot(postgres, 1) as (conn,), ExitStack() as reading:
        begun = returning.begun(conn, question, asked, bootstrap.now())
        upto, about = begun.upto, begun.about
        if cases:
            rows: Iterable[Row] = reading.enter_context(closing(_cases(conn, question, upto, limit)))
        else:
            with _progress(upto) as told:
                counted = returning.figures(conn, question, upto, told)
            rows, about = counted.rows, {**about, "digest": counted.digest}
        print_rows(
            f"{name} version {question.rule.version}, {period.since} to before {period.until}",
            rows,
            as_json,
            as_csv,
            as_ndjson,
            people=_case_for_people if cases else _figure_for_people,
            wide=("case",),
            limit=limit if cases else 0,
            fresh=[begun.fresh],
            about=about,
            notes=list(_notes(about)),
        )


def _notes(about: Mapping[str, Any]) -> Iterator[str]:
    version = about["return"]
    if not version["over"]:
        yield f"The period is not over: more may come into it until {version['until']}, and days count to its end."
    if "digest" in about:
        yield f"digest {about['digest']}"
        if version["note"]:
            yield version["note"]


def _check(question: returning.Question, cases: bool) -> None:
    """Raises BadParameter for a choice that nothing could have, or that is of figures."""
    said = [name for name, value in asdict(question.chosen).items() if value is not None]
    if said and not cases:
        raise typer.BadParameter("it chooses complaints: give --cases with it", param_hint=f"--{said[0]}")
    if (wrong := question.impossible()) is not None:
        name, names = wrong
        raise typer.BadParameter(f"use {', '.join(names)}", param_hint=f"--{name} {getattr(question.chosen, name)}")


def _cases(
    conn: returning.Conn, question: returning.Question, upto: Position, limit: int
) -> Generator[Row, None, None]:
    # The progress ends with the last row, before a table of them is printed.
    with _progress(upto) as told, closing(returning.cases(conn, question, upto, told=told)) as rows:
        yield from islice(rows, limit or None)


@contextmanager
def _progress(events: int) -> Iterator[Callable[[int], None]]:
    with progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        # How many of them are about complaints is known at the end only.
        task = bar.add_task("events", total=events)
        yield lambda read: bar.advance(task, read)


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
