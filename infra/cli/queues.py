"""`kehu show queues` and `kehu show cases`: what waits, since when and until when."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_rows, say, span, when
from infra.cli.reading import WAIT, Answer, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.ops import matching
from projections.service_queues import AT_RISK, MONTH, SERVICE_QUEUES, QueueSummary, Standing, standings, with_flow

Queue = Annotated[str | None, typer.Option(help="Only this queue.")]
KINDS = ("contact", "case")
RUNNING = """SELECT *, least(statutory_due, service_due) AS due,
        CASE WHEN statutory_due < service_due OR service_due IS NULL THEN statutory_from
            WHEN service_due < statutory_due OR statutory_due IS NULL THEN service_from
            ELSE least(statutory_from, service_from) END AS since
    FROM kehu.queue_items WHERE open AND {}"""
"""Open items with their next deadline and the begin of its clock."""
AGE = "greatest(floor(extract(epoch FROM %(now)s - {})), 0)::bigint"
"""In seconds, of what was opened then."""
LATE = "%(now)s - since >= %(at_risk)s * (due - since)"
"""Of one that is not overdue: it is at risk."""


def queues(
    postgres: Postgres = "",
    queue: Queue = None,
    kind: Annotated[str | None, typer.Option(help="Only contact or case.")] = None,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
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
    now = bootstrap.now()
    with reading(postgres, SERVICE_QUEUES, min_position=min_position, wait=wait) as answer:
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
    say(str(answer.fresh[0]), "dim")


def summaries(
    answer: Answer, now: datetime, queue: str | None = None, kind: str | None = None
) -> Sequence[QueueSummary]:
    """Each queue as it stands now."""
    chosen = {"queue": queue, "kind": kind}
    # The same as `projections.service_queues.standings`, where the items are.
    ages = ", ".join(
        f"{AGE.format(opened)} AS age_{name}"
        for name, opened in (("p50", "opened[1]"), ("p90", "opened[2]"), ("max", "oldest"))
    )
    open_items = f"""SELECT queue, kind, open, waiting, {ages}, next_statutory_due, next_service_due,
            overdue_statutory, overdue_service, at_risk
        FROM (SELECT queue, kind, count(*) AS open, count(*) FILTER (WHERE status = 'waiting') AS waiting,
                percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY opened_at DESC) AS opened,
                min(opened_at) AS oldest,
                min(statutory_due) FILTER (WHERE statutory_due >= %(now)s) AS next_statutory_due,
                min(service_due) FILTER (WHERE service_due >= %(now)s) AS next_service_due,
                count(*) FILTER (WHERE statutory_due < %(now)s) AS overdue_statutory,
                count(*) FILTER (WHERE service_due < %(now)s) AS overdue_service,
                count(*) FILTER (WHERE due >= %(now)s AND {LATE}) AS at_risk
            FROM ({RUNNING.format(matching(chosen))}) running GROUP BY queue, kind) counted"""
    flow = f"SELECT * FROM kehu.queue_flow WHERE day >= %(first)s AND {matching(chosen)}"
    values = {**chosen, "now": now, "at_risk": AT_RISK, "first": now.date() - timedelta(days=MONTH)}
    standing = [Standing(**row) for row in answer.rows(open_items, values)]
    return with_flow(standing, answer.rows(flow, values), now)


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
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Open cases with their statutory and service deadlines: the overdue first, then those at risk, then by deadline.

    At risk is a case that has used three quarters of the time to its next deadline. A clock that is stopped or unknown
    shows no deadline.

    Example: kehu show cases --overdue --queue complaints
    """
    now = bootstrap.now()
    with reading(postgres, SERVICE_QUEUES, min_position=min_position, wait=wait) as answer:
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


def open_cases(
    answer: Answer,
    now: datetime,
    limit: int = 0,
    *,
    queue: str | None = None,
    customer_id: str | None = None,
    overdue: bool = False,
) -> Iterator[dict[str, Any]]:
    """So many open cases, or with 0 all of them: the overdue first, then those at risk, then by deadline."""
    chosen = {"queue": queue, "customer_id": customer_id}
    # What a case is told to be is decided by `standings`; this is the same as an order.
    query = f"""SELECT * FROM ({RUNNING.format(matching(chosen))} AND kind = 'case') running
        WHERE due < %(now)s {"" if overdue else "OR true"}
        ORDER BY CASE WHEN due < %(now)s THEN 0 WHEN {LATE} THEN 1 ELSE 2 END, due, item_id LIMIT %(limit)s"""
    values = {**chosen, "now": now, "at_risk": AT_RISK, "limit": limit or None}
    return (_case(item, now) for item in answer.stream(query, values))


def _case(item: dict[str, Any], now: datetime) -> dict[str, Any]:
    # A queue of one: what is overdue or at risk is decided in one place.
    (alone,) = standings([item], now)
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
