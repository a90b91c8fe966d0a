"""`kehu show queues`, `cases` and `staffing`: what waits, since when and until when, and who is needed."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from infra.cli.filters import Where, single
from infra.cli.output import Csv, Json, Limit, Ndjson, fresh_line, percent, print_rows, say, span, when
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.questions.forecast import Forecasts
from infra.postgres.questions.queues import CHOOSABLE, STATES, open_cases, summaries
from infra.postgres.questions.staffing import WINDOWS, staffing_of
from projections.service_queues import DIMENSIONS, SERVICE_QUEUES

Queue = Annotated[str | None, typer.Option(help="Only this queue.")]
KINDS = ("contact", "case")


def queues(
    postgres: Postgres = "",
    by: Annotated[str, typer.Option(help=f"One line for each {', '.join(DIMENSIONS)}.")] = "queue",
    queue: Queue = None,
    kind: Annotated[str | None, typer.Option(help="Only contact or case.")] = None,
    where: Where = None,
    forecast: Annotated[bool, typer.Option("--forecast", help="How many deadlines each queue will miss.")] = False,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Each queue as it stands now: what is open and how old, the next deadlines, what is overdue, what came and went.

    Ages are the median, the 90th percentile and the greatest; in/out is of today (UTC) and of 7 days. Next due and
    overdue are by the statutory and by the service clock. Level is the share of contacts of the last 7 days that were
    answered in time; work is how many days the open items take at the pace of the last 28 days. JSON and CSV have more:
    ages in business time, abandonment, reopening, first-contact resolution, and what was in time.

    Example: kehu show queues --by branch --kind case --where product=cards
    """
    if kind not in (None, *KINDS):
        raise typer.BadParameter(f"use {' or '.join(KINDS)}", param_hint=f"--kind {kind}")
    if by not in DIMENSIONS:
        raise typer.BadParameter(f"use {', '.join(DIMENSIONS)}", param_hint=f"--by {by}")
    conditions = {**single(where, DIMENSIONS, queue=queue), "kind": kind}
    with reading(postgres, SERVICE_QUEUES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        if forecast:
            expected = Forecasts(answer, now).expected()
            print_rows("Breaches to expect", expected, as_json, as_csv, as_ndjson, people=_expected, fresh=answer.fresh)
            return
        rows = [_named(asdict(one), by) for one in summaries(answer, now, by, conditions)]
    if as_json or as_csv or as_ndjson:
        shown = rows[: limit or None]
        print_rows("Service queues", shown, as_json, as_csv, as_ndjson, limit=limit, fresh=answer.fresh)
        return
    contacts, waiting_cases = ([row for row in rows if row["kind"] == one][: limit or None] for one in KINDS)
    if kind != "case":
        print_rows("Queues of contacts", contacts, people=lambda row: _contacts_for_people(row, by), limit=limit)
    if kind != "contact":
        print_rows("Queues of cases", waiting_cases, people=lambda row: _cases_for_people(row, by, now), limit=limit)
    say(fresh_line(answer.fresh[0]), "dim")


def _named(row: dict[str, Any], by: str) -> dict[str, Any]:
    return {by: row.pop("group"), **row}


def _expected(row: Mapping[str, Any]) -> dict[str, Any]:
    ahead = {name: expected for name, expected in row.items() if name.startswith("expected_")}
    told = {name.replace("expected_", "in "): f"{expected:.1f}" for name, expected in ahead.items()}
    return {"queue": row["queue"], **told, "cannot tell": row["untold"]}


def _contacts_for_people(row: Mapping[str, Any], by: str) -> dict[str, Any]:
    return {
        **_both_for_people(row, by),
        "left\n7 d": row["abandoned_7d"],
        "level\n7 d": percent(row["service_level"]),
        "answer\nafter": span(row["speed_of_answer"]),
        "handling\ntime": span(row["handling_time"]),
        "first\n28 d": percent(row["first_contact"]),
    }


def _cases_for_people(row: Mapping[str, Any], by: str, now: datetime) -> dict[str, Any]:
    dues = (row["next_statutory_due"], row["next_service_due"])
    due = ["–" if one is None else str(span((one - now).total_seconds())) for one in dues]
    return {
        **_both_for_people(row, by),
        "next due\nlaw, service": None if due == ["–", "–"] else ", ".join(due),
        "over-\ndue": f"{row['overdue_statutory']}/{row['overdue_service']}",
        "at\nrisk": row["at_risk"],
        "work\ndays": None if row["days_of_work"] is None else f"{row['days_of_work']:.1f}",
    }


def _both_for_people(row: Mapping[str, Any], by: str) -> dict[str, Any]:
    return {
        f"\n{by.replace('_', ' ')}": row[by] or "(none)",
        "open/\nwait": f"{row['open']}/{row['waiting']}",
        "age\np50": span(row["age_p50"]),
        "\np90": span(row["age_p90"]),
        "\nmax": span(row["age_max"]),
        "in/out\ntoday": f"{row['inflow_today']}/{row['outflow_today']}",
        "\n7 d": f"{row['inflow_7d']}/{row['outflow_7d']}",
    }


def cases(
    postgres: Postgres = "",
    queue: Queue = None,
    customer: Annotated[str | None, typer.Option(help="Only cases of this customer.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only {', '.join(STATES)}.")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what missed a deadline.")] = False,
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
    """Open cases with their statutory and service deadlines: the overdue first, then those at risk, then by deadline.

    At risk is a case that has used three quarters of the time to its next deadline. A clock that is stopped or unknown
    shows no deadline. Breach is the probability that the next deadline is missed, from how long such cases take; absent
    where too few were finished to tell.

    Example: kehu show cases --state "at risk" --where branch=Leeds --where case_type=complaint
    """
    if overdue:
        state = state or "overdue"
    if state not in (None, *STATES):
        raise typer.BadParameter(f"use {', '.join(STATES)}", param_hint=f"--state {state}")
    conditions = single(where, CHOOSABLE, queue=queue, customer_id=customer)
    with reading(postgres, SERVICE_QUEUES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        print_rows(
            "Open cases",
            open_cases(answer, now, limit, conditions, state, Forecasts(answer, now)),
            as_json,
            as_csv,
            as_ndjson,
            people=lambda row: _case_for_people(row, now),
            wide=("case",),
            limit=limit,
            fresh=answer.fresh,
        )


def _case_for_people(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "case": row["case"],
        "state": row["state"],
        "queue": row["queue"],
        "status": row["status"],
        "customer": row["customer_id"],
        "age": span(row["age_seconds"]),
        "due\nby law": when(row["statutory_due"], now),
        "due by\nservice": when(row["service_due"], now),
        "breach": percent(row["breach"]),
    }


def staffing(
    postgres: Postgres = "",
    queue: Queue = None,
    days: Annotated[int, typer.Option(help=f"Arrivals of the last {' or '.join(map(str, WINDOWS))} days.")] = WINDOWS[
        -1
    ],
    hours: Annotated[float, typer.Option(min=0.1, max=24, help="Hours a day in which contacts come.")] = 8.0,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """How many agents each live queue needs on its busiest day and on a mean one, by Erlang C.

    From how many contacts came and how long they took; evenly spread over --hours a day, so a peak within the day needs
    more. Erlang C knows nobody who hangs up, and says nothing about cases.

    Example: kehu show staffing --queue cards --days 7
    """
    if days not in WINDOWS:
        raise typer.BadParameter(f"use {' or '.join(map(str, WINDOWS))}", param_hint=f"--days {days}")
    with reading(postgres, SERVICE_QUEUES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        rows = staffing_of(answer, now, days, hours, queue)
    print_rows(f"Agents needed, from {days} days", rows, as_json, as_csv, as_ndjson, people=_staff, fresh=answer.fresh)


def _staff(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "queue": row["queue"],
        "day": row["day"],
        "contacts": row["contacts"],
        "handling": span(row["handling_time"]),
        "agents": row["agents"],
        "level": percent(row["service_level"]),
        "answer after": span(row["speed_of_answer"]),
        "occupied": percent(row["occupancy"]),
    }
