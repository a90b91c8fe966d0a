"""`kehu show customer`: one customer as a whole: who it is, the risk, the open cases, and everything that happened."""

from typing import Annotated, Any

import typer

from infra.cli.messages import Since, in_utc
from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_rows, say
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.retention_risk import UnknownCustomer
from infra.cli.servers import Postgres
from infra.postgres.questions.customers import ABOUT_ONE, risk_of, timeline
from infra.postgres.questions.queues import open_cases


def customer(
    customer_id: str,
    postgres: Postgres = "",
    since: Since = None,
    kind: Annotated[
        str | None, typer.Option(help="Only one kind: complaint, contact, survey …, or one event: survey.answered.")
    ] = None,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """One customer: band and risk of leaving, open cases, and everything that happened, newest first.

    --since, --kind and --limit choose among what happened. CSV and NDJSON have only that; JSON has `customer` and
    `cases` beside the `rows`.

    Example: kehu show customer c-100023 --kind complaint --since 2026-01-01
    """
    with reading(
        postgres, *ABOUT_ONE, min_position=min_position, wait=wait, at=at, known_at=known_at, customers=(customer_id,)
    ) as (answer, now):
        risk = risk_of(answer, customer_id, now)
        cases = list(open_cases(answer, now, where={"customer_id": customer_id}))
        if risk is None and not cases and not list(timeline(answer, customer_id, 1)):
            raise UnknownCustomer(customer_id)
        if not (as_json or as_csv or as_ndjson):
            _print_customer(customer_id, risk, cases)
        print_rows(
            f"Customer {customer_id}, newest first",
            timeline(answer, customer_id, limit, in_utc(since), kind),
            as_json,
            as_csv,
            as_ndjson,
            people=_for_people,
            wide=("what",),
            limit=limit,
            fresh=answer.fresh,
            about={"customer": risk, "cases": cases},
        )


def _print_customer(customer_id: str, risk: dict[str, Any] | None, cases: list[dict[str, Any]]) -> None:
    if risk is not None:
        known = {"branch": risk["branch"], "segment": risk["segment"], "manager": risk["manager_id"]}
        told = [f"{name} {value}" for name, value in known.items() if value]
        share = percent(risk["probability"], 1)
        band = f"retention risk {risk['band']}" + (f", {share}" if share else "")
        say(f"Customer {customer_id}: {', '.join([*told, band])}")
    if cases:
        names = ("case", "state", "queue", "status", "statutory_due", "service_due")
        print_rows("Open cases", [{name: one[name] for name in names} for one in cases], wide=("case",))


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {"when (UTC)": row["occurred_at"], "event": row["type"], "what": row["summary"], "position": row["position"]}
