"""`kehu show customers`: lists of customers, and search by an e-mail address, phone or number."""

from typing import Annotated, Any

import typer

from domain.customer.identity import MATCHING
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Postgres
from infra.postgres.questions import profiles
from infra.postgres.questions.identity import holders
from projections.customers import CUSTOMERS


def customers(
    postgres: Postgres = "",
    manager: Annotated[str | None, typer.Option(help="The portfolio of this relationship manager.")] = None,
    branch: Annotated[str | None, typer.Option(help="Only this branch.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only this segment.")] = None,
    project: Annotated[str | None, typer.Option(help="Whoever had to do with this project.")] = None,
    product: Annotated[str | None, typer.Option(help="Whoever has this product.")] = None,
    consent: Annotated[
        str | None, typer.Option(metavar="PURPOSE/CHANNEL", help="Whose consent is valid now: marketing/email.")
    ] = None,
    closed: Annotated[
        bool | None, typer.Option("--closed/--open", help="Only whose relationship has ended, or has not.")
    ] = None,
    having: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Whoever has this e-mail address, phone, device or number.")
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
    """Registered customers by id, as of now, without names and addresses. All filters must hold.

    A merged customer is listed under each of its ids, with the one that it was merged into.

    Example: kehu show customers --manager m-12 --consent marketing/email --limit 0 --csv
    """
    asked = None
    if consent is not None:
        purpose, slash, channel = consent.rpartition("/")
        if not slash or not purpose or not channel:
            raise typer.BadParameter("write it like marketing/email", param_hint=f"--consent {consent}")
        asked = (purpose, channel)
    with reading(postgres, CUSTOMERS, min_position=min_position, wait=wait, at=at, known_at=known_at) as (answer, now):
        print_rows(
            "Customers",
            profiles.customers(
                answer,
                now,
                limit,
                filters={"manager_id": manager, "branch": branch, "segment": segment},
                project_id=project,
                product=product,
                consent=asked,
                closed=closed,
                ids=None if having is None else holders(answer, having, MATCHING.at(now)),
            ),
            as_json,
            as_csv,
            as_ndjson,
            people=_for_people,
            wide=("customer", "products"),
            limit=limit,
            fresh=answer.fresh,
        )


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "customer": row["customer_id"],
        "kind": row["kind"],
        "branch": row["branch"],
        "segment": row["segment"],
        "manager": row["manager_id"],
        "project": row["project_id"],
        "products": ", ".join(row["products"]) or None,
        "since": row["customer_since"],
        "closed": row["closed_at"] and f"{row['closed_at']:%Y-%m-%d}",
        "merged into": row["merged_into"],
    }
