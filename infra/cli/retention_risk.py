"""`kehu show retention-risk`: who is likely to leave, and why."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, percent, print_rows, say
from infra.cli.servers import MinPosition, Postgres, query, wait_for
from infra.errors import KehuError
from projections.retention_risk import BASE, RETENTION_RISK, sweep

BANDS = ("high", "medium", "low", "unknown", "closed")
FILTERS = ("branch", "segment", "manager_id", "customer_id")
Row = dict[str, Any]


class UnknownCustomer(KehuError):
    """Nothing is stored about this customer. Check the id; `kehu doctor` tells whether the read models lag."""


def retention_risk(
    postgres: Postgres = "",
    band: Annotated[str | None, typer.Option(help=f"Only {', '.join(BANDS)}.")] = None,
    branch: Annotated[str | None, typer.Option(help="Only this branch.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only this segment.")] = None,
    manager: Annotated[str | None, typer.Option(help="Only customers of this relationship manager.")] = None,
    customer: Annotated[str | None, typer.Option(help="This customer, with all reasons and their events.")] = None,
    limit: Limit = 20,
    min_position: MinPosition = 0,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """The customers who are most likely to leave, with the reasons and their points, as of now.

    Points add up on the scale of log odds, from a base of -3.0. A customer of whom nothing is known has the band
    unknown and no probability. Scores that changed because time passed are computed anew.

    Example: kehu show retention-risk --band high --branch Leeds
    """
    if band not in (None, *BANDS):
        raise typer.BadParameter(f"use {', '.join(BANDS)}", param_hint=f"--band {band}")
    chosen = {"branch": branch, "segment": segment, "manager_id": manager, "customer_id": customer, "band": band}
    wait_for(postgres, RETENTION_RISK, min_position)
    rows = [_row(row) for row in _scored_now(postgres, chosen, limit, bootstrap.now())]
    if customer is not None and not rows:
        raise UnknownCustomer(customer)
    if customer is not None and not as_json and not as_csv:
        _print_customer(rows[0])
        return
    print_rows("Retention risk, highest first", rows, as_json, as_csv, people=_for_people, wide=("reasons",))


def _scored_now(postgres: str, chosen: Mapping[str, str | None], limit: int, now: datetime) -> list[Row]:
    """Rows that are due are scored anew, whatever band they had; of the others the stored order holds."""
    where = " AND ".join(f"(%({name})s::text IS NULL OR {name} = %({name})s)" for name in FILTERS)
    columns = "*, coalesce(next_change_at <= %(now)s, false) AS due"
    values = {**chosen, "now": now, "limit": limit}
    rows = query(
        postgres,
        f"""(SELECT {columns} FROM kehu.retention_risk WHERE next_change_at <= %(now)s AND {where})
        UNION ALL (SELECT {columns} FROM kehu.retention_risk WHERE (next_change_at <= %(now)s) IS NOT true AND {where}
            AND (%(band)s::text IS NULL OR band = %(band)s)
            ORDER BY probability DESC NULLS LAST, band = 'closed', customer_id LIMIT %(limit)s)""",
        values,
    )
    scored: list[Row] = [dict(sweep(row, now)) if row["due"] else row for row in rows]
    wanted = [row for row in scored if chosen["band"] in (None, row["band"])]
    return sorted(wanted, key=lambda row: (-(row["probability"] or 0.0), row["band"] == "closed", row["customer_id"]))[
        :limit
    ]


def _row(row: Row) -> Row:
    names = ("customer_id", "band", "probability", "logit", "reasons", "scored_at", "next_change_at")
    logit = None if row["logit"] is None else float(row["logit"])
    dimensions = {name: row[name] for name in ("branch", "segment", "project_id", "manager_id")}
    return {**{name: row[name] for name in names}, "logit": logit, **dimensions, "position": row["position"]}


def _for_people(row: Row) -> Row:
    return {
        "customer": row["customer_id"],
        "band": row["band"],
        "risk": percent(row["probability"], 1) or row["band"],
        "branch": row["branch"],
        "segment": row["segment"],
        "manager": row["manager_id"],
        "reasons": "\n".join(map(_reason, row["reasons"])) or None,
    }


def _reason(reason: Mapping[str, Any]) -> str:
    return f"{float(reason['points']):+.1f} {reason['code'].replace('-', ' ')}: {reason['value']}"


def _print_customer(row: Row) -> None:
    reasons = [
        {
            "points": f"{float(one['points']):+.1f}",
            "reason": one["code"].replace("-", " "),
            "seen": one["value"],
            "window": one["window"],
            "events": "\n".join(one["sources"]),
        }
        for one in row["reasons"]
    ]
    base = {"points": f"{BASE / 10:+.1f}", "reason": "base", "seen": None, "window": None, "events": None}
    risk = percent(row["probability"], 1)
    title = f"Retention risk of {row['customer_id']}: {row['band']}" + (f", {risk}" if risk else "")
    print_rows(title, [base, *reasons] if risk else [], wide=("events", "seen", "window"))
    if risk:
        say(f"Log odds {row['logit']:+.1f}: the sum of the points. The score stays until {_until(row)}.")
    elif row["band"] == "unknown":
        say("Nothing is known that could be scored; unknown is no low risk.")


def _until(row: Row) -> str:
    change = row["next_change_at"]
    return f"an event comes, or {change:%Y-%m-%d %H:%M} UTC" if change else "an event comes"
