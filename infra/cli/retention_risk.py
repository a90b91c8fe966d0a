"""`kehu show retention-risk`: who is likely to leave, and why."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import typer

from infra.cli.output import Csv, Json, Limit, Ndjson, fresh_line, percent, print_rows, say
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.risk import WHICH, chosen
from infra.cli.servers import Postgres
from infra.errors import KehuError
from infra.postgres.questions.answer import Row
from infra.postgres.questions.customers import BANDS, risk_of, riskiest, scorer_at
from infra.postgres.questions.forgotten import require_living
from infra.postgres.risk_models import usable
from projections.retention_risk import RETENTION_RISK, points_of


class UnknownCustomer(KehuError):
    """Nothing is stored about this customer. Check the id; `kehu doctor` tells whether the read models lag."""


def retention_risk(
    postgres: Postgres = "",
    band: Annotated[str | None, typer.Option(help=f"Only {', '.join(BANDS)}.")] = None,
    branch: Annotated[str | None, typer.Option(help="Only this branch.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only this segment.")] = None,
    manager: Annotated[str | None, typer.Option(help="Only customers of this relationship manager.")] = None,
    customer: Annotated[str | None, typer.Option(help="This customer, with all reasons and their events.")] = None,
    model: Annotated[str | None, typer.Option("--model", help=f"Beside it the score by another model. {WHICH}")] = None,
    limit: Limit = 20,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """The customers who are most likely to leave, with the reasons and their points, as of now.

    Points add up on the scale of log odds, from the base of the model. A customer of whom nothing is known has the band
    unknown and no probability. Scores that changed because time passed are computed anew. With --model each row has
    beside it, as `other`, what that model says of the same features.

    Example: kehu show retention-risk --band high --branch Leeds
    """
    if band not in (None, *BANDS):
        raise typer.BadParameter(f"use {', '.join(BANDS)}", param_hint=f"--band {band}")
    with reading(postgres, RETENTION_RISK, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        other = None if model is None else usable(answer.ask(lambda conn: chosen(conn, model)))
        base = scorer_at(answer, now).model.base
        if customer is not None:
            require_living(answer, customer)
            found = risk_of(answer, customer, now, other)
            if found is None:
                raise UnknownCustomer(customer)
            filters = {"branch": branch, "segment": segment, "manager_id": manager, "band": band}
            rows = iter([found] if all(value in (None, found[name]) for name, value in filters.items()) else [])
            if not (as_json or as_csv or as_ndjson):
                _print_customer(found, base)
                say(fresh_line(answer.fresh[0]), "dim")
                return
        else:
            filters = {"branch": branch, "segment": segment, "manager_id": manager}
            rows = riskiest(answer, now, limit, band, filters, other)
        print_rows(
            "Retention risk, highest first",
            rows,
            as_json,
            as_csv,
            as_ndjson,
            people=_for_people,
            wide=("reasons",),
            limit=limit,
            fresh=answer.fresh,
        )


def _for_people(row: Row) -> Row:
    return {
        "customer": row["customer_id"],
        "band": row["band"],
        "risk": percent(row["probability"], 1) or row["band"],
        **({other["model"]: _other(other)} if (other := row.get("other")) else {}),
        "branch": row["branch"],
        "segment": row["segment"],
        "manager": row["manager_id"],
        "reasons": "\n".join(map(_reason, row["reasons"])) or None,
    }


def _other(said: Row) -> str:
    return (
        f"{said['band']}, {percent(said['probability'], 1)}" if said["probability"] is not None else str(said["band"])
    )


def _reason(reason: Mapping[str, Any]) -> str:
    return f"{float(reason['points']):+.1f} {reason['code'].replace('-', ' ')}: {reason['value']}"


def _print_customer(row: Row, thousandths: int) -> None:
    reasons = [
        {
            "points": f"{Decimal(one['points']):+}",
            "reason": one["code"].replace("-", " "),
            "seen": one["value"],
            "window": one["window"],
            "events": "\n".join(one["sources"]),
        }
        for one in row["reasons"]
    ]
    base = {"points": f"{points_of(thousandths):+}", "reason": "base", "seen": None, "window": None, "events": None}
    risk = percent(row["probability"], 1)
    title = f"Retention risk of {row['customer_id']}: {row['band']}" + (f", {risk}" if risk else "")
    print_rows(title, [base, *reasons] if risk else [], wide=("events", "seen", "window"))
    if risk:
        say(f"Log odds {row['logit']:+}: the sum of the points, {row['score']} on the scale of {row['model']}.")
        say(f"The score stays until {_until(row)}.")
        if other := row.get("other"):
            say(f"By {other['model']}: {_other(other)}.")
    elif row["band"] == "unknown":
        say("Nothing is known that could be scored; unknown is no low risk.")


def _until(row: Row) -> str:
    change = row["next_change_at"]
    return f"an event comes, or {change:%Y-%m-%d %H:%M} UTC" if change else "an event comes"
