"""`kehu show satisfaction`, `satisfaction-change`, `answers` and `causes`: what customers say, and what came before."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer

from domain.survey import RULES
from infra.cli.filters import check_window, several, window_of
from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_rows
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.questions.satisfaction import (
    Window,
    answers,
    as_row,
    causes_of,
    differences,
    rolling,
    rounded,
    scores,
)
from projections.satisfaction import DIMENSIONS, PERIODS, SATISFACTION, TOTALLED, Difference, Summary
from projections.satisfaction_causes import CAUSES, SATISFACTION_CAUSES

GROUPS = (*DIMENSIONS, *PERIODS)
FILTERS = ("metric", "scale", *DIMENSIONS)
YEAR = timedelta(days=364)
"""How far rolling windows go back unless --days says so."""
By = Annotated[str, typer.Option(help=f"Group by {', '.join(GROUPS)}; several with commas between.")]
Where = Annotated[
    list[str] | None, typer.Option(help="Only where NAME=VALUE; repeatable, the same name gives several values.")
]
Days = Annotated[int | None, typer.Option(help="Only invitations of the last 7, 30 or 90 days.")]
Until = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of the window; today if absent.")]
MinN = Annotated[int, typer.Option("--min-n", min=1, help="With fewer answers no score is shown.")]
SMALLEST = RULES.latest.smallest_n


def satisfaction(
    postgres: Postgres = "",
    by: By = "channel",
    days: Days = None,
    until: Until = None,
    where: Where = None,
    rolling_days: Annotated[
        int | None, typer.Option("--rolling", min=1, help="A series of windows of so many days.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Days between the ends of rolling windows.")] = 7,
    min_n: MinN = SMALLEST,
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

    Days are those of the invitations, in UTC. CSAT and CES are shares, NPS runs from -100 to 100; the mean is effort by
    its other convention. Rolling windows are those of a year that ends with --until.

    Example: kehu show satisfaction --by branch,month --days 90 --where channel=app --where channel=web
    """
    groups = _groups(by)
    check_window(days, until, ends_another=rolling_days is not None)
    conditions = several(where, FILTERS)
    with reading(postgres, SATISFACTION, min_position=min_position, wait=wait, at=at, known_at=known_at) as asked:
        answer, now = asked
        window = window_of(days, until, now.date())
        title = f"Satisfaction by {by}" + (f", {days} days to {window[1]}" if window else "")
        if rolling_days:
            last = until.date() if until else now.date()
            series = rolling(answer, groups, conditions, window or (last - YEAR, last), rolling_days, every, min_n)
            rows = [{"until": end, **_row(groups, one)} for end, one in series]
        else:
            summaries = scores(answer, groups, conditions, window, min_n)
            ordered = sorted(summaries, key=lambda s: (s.metric, s.scale, s.group))
            rows = [_row(groups, one) for one in ordered]
    print_rows(
        title,
        rows[: limit or None],
        as_json,
        as_csv,
        as_ndjson,
        people=lambda row: _for_people(groups, row),
        wide=groups,
        limit=limit,
        fresh=answer.fresh,
    )


def satisfaction_change(
    before: Annotated[str, typer.Option(help="FROM..TO: the days of the earlier period.")],
    after: Annotated[str, typer.Option(help="FROM..TO: the days of the later period.")],
    postgres: Postgres = "",
    by: By = "channel",
    where: Where = None,
    min_n: MinN = SMALLEST,
    limit: Limit = 100,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """How CSAT, NPS and CES changed between two periods, with the interval of the difference.

    Significant is what remains when all groups are looked at together (Benjamini and Hochberg): of what is named so,
    one in twenty is expected to be chance. A group with too few answers in either period has no difference.

    Example: kehu show satisfaction-change --before 2026-01-01..2026-03-31 --after 2026-04-01..2026-06-30 --by branch
    """
    groups, conditions = _groups(by), several(where, FILTERS)
    windows = (_window(before, "--before"), _window(after, "--after"))
    with reading(postgres, SATISFACTION, min_position=min_position, wait=wait, at=at, known_at=known_at) as asked:
        answer, _ = asked
        found = differences(answer, *windows, groups, conditions, min_n)
    print_rows(
        "Change of satisfaction",
        [_difference(groups, one) for one in found][: limit or None],
        as_json,
        as_csv,
        as_ndjson,
        people=lambda row: _difference_for_people(groups, row),
        wide=groups,
        limit=limit,
        fresh=answer.fresh,
    )


def list_answers(
    postgres: Postgres = "",
    days: Days = None,
    until: Until = None,
    where: Where = None,
    every: Annotated[bool, typer.Option("--all", help="Also invitations without an answer.")] = False,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """The answers as they were given, with scale, the score that was replaced, and what was known when they were asked.

    Without what customers wrote. The newest day of invitation first; --limit 0 exports all, row by row.

    Example: kehu show answers --where metric=nps --where score=0 --where score=1 --limit 0 --csv
    """
    check_window(days, until)
    conditions = several(where, (*FILTERS, "score", "outcome", "customer_id", "about"))
    with reading(postgres, SATISFACTION, min_position=min_position, wait=wait, at=at, known_at=known_at) as asked:
        answer, now = asked
        window = window_of(days, until, now.date())
        print_rows(
            "Answers",
            answers(answer, limit, conditions, window, scored=not every),
            as_json,
            as_csv,
            as_ndjson,
            people=_answer_for_people,
            wide=("invitation",),
            limit=limit,
            fresh=answer.fresh,
        )


def causes(
    postgres: Postgres = "",
    days: Days = None,
    until: Until = None,
    where: Where = None,
    min_n: MinN = SMALLEST,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """What customers went through before they answered low, against what came before the other answers.

    Lift 2 means: twice as often before a low answer. It is an association, no proof; an interval that has 1 in it may
    be chance. Low is CSAT of 2 or less, NPS of 6 or less, and effort of 3 of 7 or 2 of 5 or less.

    Example: kehu show causes --where metric=csat --where branch=Leeds --days 90
    """
    check_window(days, until)
    conditions = several(where, FILTERS)
    with reading(
        postgres, SATISFACTION_CAUSES, min_position=min_position, wait=wait, at=at, known_at=known_at
    ) as asked:
        answer, now = asked
        window = window_of(days, until, now.date())
        rows = [asdict(one) for one in causes_of(answer, conditions, window, min_n)]
    print_rows(
        "What came before low answers",
        rows,
        as_json,
        as_csv,
        as_ndjson,
        people=_cause_for_people,
        wide=("before",),
        fresh=answer.fresh,
    )


def _groups(by: str) -> tuple[str, ...]:
    groups = tuple(filter(None, by.split(",")))
    if not groups or set(groups) - set(GROUPS):
        raise typer.BadParameter(f"use {', '.join(GROUPS)}", param_hint=f"--by {by}")
    if len(set(groups)) != len(groups):
        raise typer.BadParameter("name each once", param_hint=f"--by {by}")
    return groups


def _window(said: str, option: str) -> Window:
    first, dots, last = said.partition("..")
    try:
        window = (date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        window = None
    if not dots or window is None or window[0] > window[1]:
        raise typer.BadParameter("write 2026-01-01..2026-03-31, the earlier day first", param_hint=f"{option} {said}")
    return window


def _row(groups: Sequence[str], of: Summary) -> dict[str, Any]:
    row = as_row(of)
    return {"metric": row.pop("metric"), "scale": row.pop("scale"), **dict(zip(groups, of.group, strict=True)), **row}


def _for_people(groups: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
    score = interval = None
    if row["suppressed"]:
        score = "too few"
    elif row["score"] is not None:
        score, interval = _said(row["metric"], row["score"]), _interval(row["metric"], row["low"], row["high"])
    return {
        **({"until": row["until"]} if "until" in row else {}),
        "metric": row["metric"].upper(),
        **{name: row[name] if row[name] != "" else "(none)" for name in groups},
        "invited": f"{row['invited']:,}",
        "answers": f"{row['n']:,}",
        "score": score,
        "95 % interval": interval,
        "mean": None if row["mean"] is None else f"{row['mean']:.2f} of {row['scale']}",
        "response": percent(row["response"]),
    }


def _said(metric: str, value: float) -> str:
    return f"{value:+.0f}" if metric == "nps" else str(percent(value))


def _interval(metric: str, low: float, high: float) -> str:
    return f"{_said(metric, low)} … {_said(metric, high)}"


def _difference(groups: Sequence[str], of: Difference) -> dict[str, Any]:
    change = of.change
    measures = {"before": of.before, "after": of.after}
    return {
        "metric": of.metric,
        "scale": of.scale,
        **dict(zip(groups, of.group, strict=True)),
        **{
            name: None if one is None or one.measure is None else rounded(one.measure.value)
            for name, one in measures.items()
        },
        **{f"n_{name}": 0 if one is None else one.n for name, one in measures.items()},
        "delta": rounded(change.delta if change else None),
        "low": rounded(change.low if change else None),
        "high": rounded(change.high if change else None),
        "p_value": None if of.p_value is None else round(of.p_value, 5),
        "significant": of.significant,
    }


def _difference_for_people(groups: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
    metric, delta = row["metric"], row["delta"]
    sign = 1 if metric == "nps" else 100
    told = "too few" if delta is None else f"{sign * delta:+.0f}"
    return {
        "metric": metric.upper(),
        **{name: row[name] if row[name] != "" else "(none)" for name in groups},
        **{name: None if row[name] is None else _said(metric, row[name]) for name in ("before", "after")},
        "answers": f"{row['n_before']:,}, {row['n_after']:,}",
        "points": told,
        "95 % interval": None if delta is None else f"{sign * row['low']:+.0f} … {sign * row['high']:+.0f}",
        "significant": row["significant"],
    }


def _answer_for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: row[name] for name in TOTALLED if row[name]}
    return {
        "invitation": row["invitation_id"],
        "metric": row["metric"].upper(),
        "score": None if row["score"] is None else f"{row['score']} of {row['scale']}",
        "before": row["previous"],
        "answered": row["scored_at"],
        "customer": row["customer_id"],
        **{name: said.get(name) for name in ("channel", "branch", "product")},
    }


def _cause_for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    lift = row["lift"]
    return {
        "metric": f"{row['metric'].upper()} of {row['scale']}",
        "before": CAUSES[row["cause"]],
        "low answers": f"{row['low_with']:,} of {row['low']:,}",
        "others": f"{row['others_with']:,} of {row['others']:,}",
        "share": "too few" if row["suppressed"] else f"{percent(row['low_share'])}, {percent(row['others_share'])}",
        "lift": None if lift is None else f"{lift:.1f}",
        "95 % interval": None if lift is None else f"{row['lift_low']:.1f} … {row['lift_high']:.1f}",
    }
