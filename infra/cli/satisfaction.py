"""`kehu show satisfaction`: CSAT, NPS and CES of any grouping and window."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer

from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_rows
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.questions.satisfaction import scores
from projections.satisfaction import DIMENSIONS, SATISFACTION, Summary

FILTERS = ("metric", "scale", *DIMENSIONS)
WINDOWS = (7, 30, 90)


def satisfaction(
    postgres: Postgres = "",
    by: Annotated[str, typer.Option(help=f"Group by {', '.join(DIMENSIONS)}.")] = "channel",
    days: Annotated[int | None, typer.Option(help="Only invitations of the last 7, 30 or 90 days.")] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of the window; today if absent.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help=f"Only where DIMENSION=VALUE; repeatable. Also {FILTERS[0]}, {FILTERS[1]}.")
    ] = None,
    limit: Limit = 100,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """CSAT, NPS and CES with their 95 % intervals, and the response rate; suppressed below ten answers.

    Days are those of the invitations, in UTC. CSAT and CES are shares, NPS runs from -100 to 100.

    Example: kehu show satisfaction --by branch --days 30 --where channel=app
    """
    if by not in DIMENSIONS:
        raise typer.BadParameter(f"use {', '.join(DIMENSIONS)}", param_hint=f"--by {by}")
    if days not in (None, *WINDOWS):
        raise typer.BadParameter("use 7, 30 or 90", param_hint=f"--days {days}")
    if until is not None and days is None:
        raise typer.BadParameter("it ends a window: give --days 7, 30 or 90 with it", param_hint="--until")
    conditions = _conditions(where or ())
    with reading(postgres, SATISFACTION, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        last = until.date() if until else now.date()
        title = f"Satisfaction by {by}" + (f", {days} days to {last}" if days else "")
        window = (last - timedelta(days=days - 1), last) if days else None
        summaries = scores(answer, (by,), conditions, window)
    ordered = sorted(summaries, key=lambda s: (s.metric, s.scale, s.group))[: limit or None]
    print_rows(
        title,
        [_row(by, one) for one in ordered],
        as_json,
        as_csv,
        as_ndjson,
        people=_for_people,
        wide=(by,),
        limit=limit,
        fresh=answer.fresh,
    )


def _conditions(where: Sequence[str]) -> dict[str, str]:
    conditions: dict[str, str] = {}
    for one in where:
        name, equals, value = one.partition("=")
        if not equals or name not in FILTERS:
            raise typer.BadParameter(
                f"write DIMENSION=VALUE with one of {', '.join(FILTERS)}", param_hint=f"--where {one}"
            )
        if name in conditions:
            raise typer.BadParameter(f"{name} is given twice, and no cell has two values", param_hint=f"--where {one}")
        if name == "day":
            try:
                date.fromisoformat(value)
            except ValueError:
                raise typer.BadParameter("a day is written like day=2026-03-02", param_hint=f"--where {one}") from None
        if name == "scale" and not value.isdecimal():
            raise typer.BadParameter("a scale is written like scale=5", param_hint=f"--where {one}")
        conditions[name] = value
    return conditions


def _row(by: str, of: Summary) -> dict[str, Any]:
    measure, rate = of.measure, of.response_rate
    value, low, high = (round(x, 3) for x in (measure.value, measure.low, measure.high)) if measure else (None,) * 3
    return {
        "metric": of.metric,
        "scale": of.scale,
        by: of.group[0],
        "invited": of.invited,
        "bounced": of.bounced,
        "declined": of.declined,
        "answered": of.answered,
        "partial": of.partial,
        "n": of.n,
        "suppressed": of.suppressed,
        "score": value,
        "low": low,
        "high": high,
        "mean": None if of.mean is None else round(of.mean, 3),
        "method": measure.method if measure else None,
        "response": None if rate is None else round(rate, 3),
    }


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    by = list(row)[2]
    score = interval = None
    if row["suppressed"]:
        score = "too few"
    elif row["score"] is not None and row["metric"] == "nps":
        score, interval = f"{row['score']:+.0f}", f"{row['low']:+.0f} … {row['high']:+.0f}"
    elif row["score"] is not None:
        score, interval = percent(row["score"]), f"{percent(row['low'])} … {percent(row['high'])}"
    counts = {name: f"{row[name]:,}" for name in ("invited", "n")}
    return {
        "metric": row["metric"].upper(),
        by: row[by] or "(none)",
        "invited": counts["invited"],
        "answers": counts["n"],
        "score": score,
        "95 % interval": interval,
        "mean": None if row["mean"] is None else f"{row['mean']:.2f} of {row['scale']}",
        "response": percent(row["response"]),
    }
