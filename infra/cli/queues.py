"""`kehu show queues` and `kehu show cases`: what waits, since when and until when."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from infra.cli.output import Csv, Json, Limit, Ndjson, fresh_line, percent, print_rows, say, span, when
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.questions.queues import open_cases, summaries
from projections.service_queues import SERVICE_QUEUES

Queue = Annotated[str | None, typer.Option(help="Only this queue.")]
KINDS = ("contact", "case")


def queues(
    postgres: Postgres = "",
    queue: Queue = None,
    kind: Annotated[str | None, typer.Option(help="Only contact or case.")] = None,
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
    answered within 20 seconds; work is how many days the open items take at the pace of the last 28 days.

    Example: kehu show queues --kind case
    """
    if kind not in (None, *KINDS):
        raise typer.BadParameter(f"use {' or '.join(KINDS)}", param_hint=f"--kind {kind}")
    with reading(postgres, SERVICE_QUEUES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        rows = [asdict(one) for one in summaries(answer, now, queue, kind)]
    if as_json or as_csv or as_ndjson:
        shown = rows[: limit or None]
        print_rows("Service queues", shown, as_json, as_csv, as_ndjson, limit=limit, fresh=answer.fresh)
        return
    contacts, waiting_cases = ([row for row in rows if row["kind"] == one][: limit or None] for one in KINDS)
    if kind != "case":
        print_rows("Queues of contacts", contacts, people=_contacts_for_people, limit=limit)
    if kind != "contact":
        print_rows("Queues of cases", waiting_cases, people=lambda row: _cases_for_people(row, now), limit=limit)
    say(fresh_line(answer.fresh[0]), "dim")


def _contacts_for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_both_for_people(row),
        "left\n7 d": row["abandoned_7d"],
        "level\n7 d": percent(row["service_level"]),
        "answer\nafter": span(row["speed_of_answer"]),
        "handling\ntime": span(row["handling_time"]),
    }


def _cases_for_people(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    dues = (row["next_statutory_due"], row["next_service_due"])
    due = ["–" if one is None else str(span((one - now).total_seconds())) for one in dues]
    return {
        **_both_for_people(row),
        "next due\nlaw, service": None if due == ["–", "–"] else ", ".join(due),
        "over-\ndue": f"{row['overdue_statutory']}/{row['overdue_service']}",
        "at\nrisk": row["at_risk"],
        "work\ndays": None if row["days_of_work"] is None else f"{row['days_of_work']:.1f}",
    }


def _both_for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "\nqueue": row["queue"],
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
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what missed a deadline.")] = False,
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
    shows no deadline.

    Example: kehu show cases --overdue --queue complaints
    """
    with reading(postgres, SERVICE_QUEUES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        print_rows(
            "Open cases",
            open_cases(answer, now, limit, queue=queue, customer_id=customer, overdue=overdue),
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
    }
