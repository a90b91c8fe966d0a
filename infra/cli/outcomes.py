"""`kehu show complaint-rate` and `kehu show effect`: how often customers complain, and what a change changed."""

from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer
from msgspec import to_builtins

from infra import bootstrap
from infra.cli.filters import column, single
from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_rows, say
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.questions.outcomes import complaint_rates, effect_of
from projections.measures.intervals import Measure
from projections.outcomes import OUTCOMES
from projections.outcomes.effects import Effect
from projections.outcomes.rules import COSTS
from projections.outcomes.summaries import DIMENSIONS, ComplaintRate, Window
from projections.satisfaction import SATISFACTION

MONTH = "month"
NOT_THERE = "–"
Day = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of the window; yesterday if absent.")
]
Where = Annotated[list[str] | None, typer.Option(help=f"Only where NAME=VALUE; repeatable. {', '.join(DIMENSIONS)}.")]


def complaint_rate(
    postgres: Postgres = "",
    by: Annotated[str, typer.Option(help=f"Group by {', '.join(DIMENSIONS)}, or {MONTH}; all if absent.")] = "",
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days of the window.")] = 90,
    until: Day = None,
    where: Where = None,
    limit: Limit = 100,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Complaints per 1,000 customers and per 1,000 contacts, with 95 % intervals; the most complaints first.

    Customers are those of an average day of the window. By product and by channel there is no rate per customer: that
    is not known of customers. Days are in UTC; a complaint counts on the day that it was received.

    Example: kehu show complaint-rate --by branch --days 90 --where segment=mass
    """
    by = by if by == MONTH else dimension(by, "--by")
    conditions = single(where, DIMENSIONS)
    with reading(postgres, OUTCOMES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        last = last_day(until, now)
        window = Window.up_to(last, days)
        windows = months(window) if by == MONTH else [window]
        rates = list(complaint_rates(answer, windows, "" if by == MONTH else by, conditions))
    print_rows(
        f"Complaint rate{f' by {by}' if by else ''}, {days} days to {last}",
        [_rate_row(by, one) for one in rates][: limit or None],
        as_json,
        as_csv,
        as_ndjson,
        people=_rate_for_people,
        wide=(by,),
        limit=limit,
        fresh=answer.fresh,
    )


def last_day(until: datetime | None, now: datetime) -> date:
    """The day that was asked for, or the last one that is over."""
    return until.date() if until else now.date() - timedelta(days=1)


def dimension(said: str, option: str) -> str:
    """A dimension as the tables call it; '' stays. Raises BadParameter."""
    name = column(said)
    if name and name not in DIMENSIONS:
        raise typer.BadParameter(f"use {', '.join(DIMENSIONS)}", param_hint=f"{option} {said}")
    return name


def months(window: Window) -> list[Window]:
    """The window cut at the ends of months."""
    found, first = [], window.first
    while first <= window.last:
        following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        found.append(Window(first, min(window.last, following - timedelta(days=1))))
        first = following
    return found


def _rate_row(by: str, of: ComplaintRate) -> dict[str, Any]:
    group = {} if not by else {by: f"{of.window.first:%Y-%m}" if by == MONTH else of.group}
    return {
        **group,
        "first": of.window.first,
        "last": of.window.last,
        "complaints": of.complaints,
        "customers": None if of.customers is None else round(of.customers, 1),
        "contacts": of.contacts,
        **_interval("per_1000_customers", of.per_customers),
        **_interval("per_1000_contacts", of.per_contacts),
        "decided": of.decided,
        "upheld": of.upheld,
        "redress_minor": dict(of.redress),
    }


def _interval(name: str, of: Measure | None) -> dict[str, float | None]:
    value, low, high = (round(x, 3) for x in (of.value, of.low, of.high)) if of else (None,) * 3
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _rate_for_people(row: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(row))
    group = {} if first == "first" else {first: row[first] or "(none)"}
    customers = row["customers"]
    return {
        **group,
        "com-\nplaints": f"{row['complaints']:,}",
        "\ncustomers": None if customers is None else f"{customers:,.0f}",
        "\ncontacts": f"{row['contacts']:,}",
        "per 1,000\ncustomers": _rate_text(row, "per_1000_customers", customers is not None),
        "per 1,000\ncontacts": _rate_text(row, "per_1000_contacts", known=True),
        "upheld of\ndecided": f"{row['upheld']}/{row['decided']}",
    }


def _rate_text(row: dict[str, Any], name: str, known: bool) -> str:
    if row[name] is None:
        return "too few" if known else NOT_THERE
    return f"{row[name]:.1f} ({row[f'{name}_low']:.1f} … {row[f'{name}_high']:.1f})"


def effect(
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="First day after the change.")],
    postgres: Postgres = "",
    window: Annotated[int, typer.Option(min=1, max=3660, help="Days before, and days after.")] = 90,
    by: Annotated[str, typer.Option(help=f"Group by {', '.join(DIMENSIONS)}; all together if absent.")] = "",
    where: Where = None,
    limit: Limit = 200,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """What changed at a date: satisfaction, complaints, deadlines, reopenings, churn and cost, before and after.

    Each change has a 95 % interval and says whether it is more than chance. Before and after is no experiment: what
    else changed meanwhile is in it. A figure with * is provisional: its window is not over, or later events may still
    count in it. Costs are at the rate that the answer names: a bank sets its own.

    Example: kehu show effect --date 2026-01-15 --window 60 --by segment
    """
    by, conditions, change = dimension(by, "--by"), single(where, DIMENSIONS), day.date()
    if change >= (at or known_at or bootstrap.now()).date():
        raise typer.BadParameter(f"no day since {change} is over; give an earlier one", param_hint="--date")
    with reading(postgres, OUTCOMES, SATISFACTION, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        found = list(effect_of(answer, change, window, now.date(), by, conditions))
    rate = COSTS.latest
    exported = as_json or as_csv or as_ndjson
    print_rows(
        f"Effect of {change}, {window} days before and after{f', by {by}' if by else ''}",
        [_effect_row(by, group, one) for group, one in found][: limit or None],
        as_json,
        as_csv,
        as_ndjson,
        people=_effect_for_people,
        wide=(by, "measure"),
        limit=limit,
        fresh=answer.fresh,
        about={"cost_rate": to_builtins(rate)},
    )
    told = f"Costs are at {rate.hourly_minor / 100:,.2f} {rate.currency} an hour of work ({rate.source})."
    if not exported:
        say(told, "dim")
    elif not as_json:
        typer.echo(told, err=True)


def _effect_row(by: str, group: str, of: Effect) -> dict[str, Any]:
    numbers = {n: round(v, 4) if isinstance(v, float) else v for n, v in asdict(of).items()}
    return {by: group, **numbers} if by else numbers


def _effect_for_people(row: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(row))
    group = {} if first == "measure" else {first: row[first] or "(none)"}
    name = row["measure"].replace("_", " ") + (f" {row['of']}" if row["of"] else "")
    ratio = row["method"].startswith("rate ratio")
    return {
        **group,
        "measure": name + ("*" if row["provisional"] else ""),
        "before (n)": f"{_value(row['before'], row)} ({row['n_before']:,.0f})",
        "after (n)": f"{_value(row['after'], row)} ({row['n_after']:,.0f})",
        "change": None if row["change"] is None else f"× {row['change']:.2f}" if ratio else _value(row["change"], row),
        "95 % interval": _bounds(row, ratio),
        "more than\nchance": row["significant"],
    }


def _value(value: float | None, row: dict[str, Any]) -> str:
    if value is None:
        return "too few" if row["suppressed"] else NOT_THERE
    if row["unit"] == "share":
        return str(percent(value, 1))
    return f"{value / 100:,.2f}" if "minor units" in row["unit"] else f"{value:.1f}"


def _bounds(row: dict[str, Any], ratio: bool) -> str | None:
    if row["low"] is None:
        return None
    if ratio:
        return f"{row['low']:.2f} … {NOT_THERE if row['high'] is None else format(row['high'], '.2f')}"
    return f"{_value(row['low'], row)} … {_value(row['high'], row)}"
