"""`kehu show customer`: everything that happened with one customer."""

from typing import Annotated, Any

import typer

from infra.cli.messages import Since, in_utc
from infra.cli.output import Csv, Json, Limit, print_rows
from infra.cli.retention_risk import UnknownCustomer
from infra.cli.servers import MinPosition, Postgres, query, wait_for
from projections.customer_timeline import CUSTOMER_TIMELINE

QUERY = """SELECT * FROM kehu.customer_timeline WHERE customer_id = %(customer)s
    AND (%(since)s::timestamptz IS NULL OR occurred_at >= %(since)s)
    AND (%(kind)s::text IS NULL OR type = %(kind)s OR type LIKE %(kind)s || '.%%')
    ORDER BY occurred_at DESC, position DESC LIMIT %(limit)s"""


def customer(
    customer_id: str,
    postgres: Postgres = "",
    since: Since = None,
    kind: Annotated[
        str | None, typer.Option(help="Only one kind: complaint, contact, survey …, or one event: survey.answered.")
    ] = None,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Everything that happened with one customer, newest first.

    Example: kehu show customer c-100023 --kind complaint --since 2026-01-01
    """
    chosen = {"customer": customer_id, "since": in_utc(since), "kind": kind, "limit": limit}
    wait_for(postgres, CUSTOMER_TIMELINE, min_position)
    rows = query(postgres, QUERY, chosen)
    if not rows:
        known = "SELECT 1 AS one FROM kehu.customer_timeline WHERE customer_id = %(customer)s LIMIT 1"
        if not query(postgres, known, chosen):
            raise UnknownCustomer(customer_id)
    print_rows(f"Customer {customer_id}, newest first", rows, as_json, as_csv, people=_for_people, wide=("what",))


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {"when (UTC)": row["occurred_at"], "event": row["type"], "what": row["summary"], "position": row["position"]}
