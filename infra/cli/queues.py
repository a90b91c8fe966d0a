"""`kehu show queues` and `kehu show cases`: what waits, since when and until when."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, percent, print_rows, span, when
from infra.cli.servers import MinPosition, Postgres, query, wait_for
from projections.service_queues import MONTH, SERVICE_QUEUES, summarise_queues

Queue = Annotated[str | None, typer.Option(help="Only this queue.")]
KINDS = ("contact", "case")
LATEST = "9999"


def queues(
    postgres: Postgres = "",
    queue: Queue = None,
    kind: Annotated[str | None, typer.Option(help="Only contact or case.")] = None,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Each queue as it stands now: what is open and how old, the next deadlines, what is overdue, what came and went.

    Ages are the median, the 90th percentile and the greatest; in/out is of today (UTC) and of 7 days. Next due and
    overdue are by the statutory and by the service clock. Level is the share of contacts of the last 7 days that were
    answered within 20 seconds; work is how many days the open items take at the pace of the last 28 days.

    Example: kehu show queues --kind case
    """
    if kind not in (None, *KINDS):
        raise typer.BadParameter(f"use {' or '.join(KINDS)}", param_hint=f"--kind {kind}")
    wait_for(postgres, SERVICE_QUEUES, min_position)
    now = bootstrap.now()
    chosen = {"queue": queue, "kind": kind, "first": now.date() - timedelta(days=MONTH)}
    where = "(%(queue)s::text IS NULL OR queue = %(queue)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)"
    items = query(postgres, f"SELECT * FROM kehu.queue_items WHERE open AND {where}", chosen)  # noqa: S608
    flow = query(postgres, f"SELECT * FROM kehu.queue_flow WHERE day >= %(first)s AND {where}", chosen)  # noqa: S608
    summaries = summarise_queues(items, flow, now)[:limit]
    rows = [asdict(one) for one in summaries]
    if as_json or as_csv:
        print_rows("Service queues", rows, as_json, as_csv)
        return
    contacts, waiting_cases = ([row for row in rows if row["kind"] == one] for one in KINDS)
    if kind != "case":
        print_rows("Queues of contacts", contacts, people=_contacts_for_people)
    if kind != "contact":
        print_rows("Queues of cases", waiting_cases, people=lambda row: _cases_for_people(row, now))


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
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Open cases with their statutory and service deadlines: the overdue first, then those at risk, then by deadline.

    At risk is a case that has used three quarters of the time to its next deadline. A clock that is stopped or unknown
    shows no deadline.

    Example: kehu show cases --overdue --queue complaints
    """
    wait_for(postgres, SERVICE_QUEUES, min_position)
    now = bootstrap.now()
    items = query(
        postgres,
        "SELECT * FROM kehu.queue_items WHERE open AND kind = 'case'"
        " AND (%(queue)s::text IS NULL OR queue = %(queue)s)"
        " AND (%(customer)s::text IS NULL OR customer_id = %(customer)s)",
        {"queue": queue, "customer": customer},
    )
    rows = sorted((_case(item, now) for item in items), key=_urgency)
    shown = [row for row in rows if row["state"] == "overdue" or not overdue][:limit]
    title = f"Open cases, {len(shown)} of {len(rows)}"
    print_rows(title, shown, as_json, as_csv, people=lambda row: _case_for_people(row, now), wide=("case",))


def _case(item: dict[str, Any], now: datetime) -> dict[str, Any]:
    # A queue of one: what is overdue or at risk is decided in one place.
    (alone,) = summarise_queues([item], (), now)
    late = alone.overdue_statutory or alone.overdue_service
    names = ("queue", "status", "customer_id", "owner", "priority", "regime", "opened_at", "reopened")
    clocks = ("statutory_due", "service_due", "branch", "product", "segment", "project_id")
    return {
        "case": item["item_id"].removeprefix("complaint-"),
        "state": "overdue" if late else "at risk" if alone.at_risk else "in time",
        **{name: item[name] for name in (*names, *clocks)},
        "overdue_statutory": bool(alone.overdue_statutory),
        "overdue_service": bool(alone.overdue_service),
        "age_seconds": alone.age_max,
    }


def _urgency(row: Mapping[str, Any]) -> tuple[int, str, str]:
    due = [row[name].isoformat() for name in ("statutory_due", "service_due") if row[name] is not None]
    return ("overdue", "at risk", "in time").index(row["state"]), min(due, default=LATEST), row["case"]


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
