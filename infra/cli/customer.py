"""`kehu show customer`: one customer as a whole: who it is, the scores, what is open, and everything that happened."""

from datetime import datetime
from typing import Annotated, Any

import typer

from infra.cli.output import Csv, Json, Limit, Ndjson, percent, print_rows, say, when
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, linked, reading
from infra.cli.retention_risk import UnknownCustomer
from infra.cli.servers import Postgres
from infra.cli.times import Since, Until
from infra.postgres.questions.answer import Row
from infra.postgres.questions.customers import (
    ABOUT_ONE,
    timeline,
)
from infra.postgres.questions.forgotten import told_of
from infra.whole_customer import Whole, whole_of
from projections.customers.aliases import Group


def customer(
    customer_id: str,
    postgres: Postgres = "",
    since: Since = None,
    until: Until = None,
    kind: Annotated[
        str | None, typer.Option(help="Only one kind: complaint, contact, survey …, or one event: survey.answered.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="Only what came by this channel, and what followed from it in the same stream.")
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
    """One customer: profile, consents, projects, the three scores, what is open, and everything that happened.

    --since, --until, --kind, --channel and --limit choose among what happened, newest first. CSV and NDJSON have only
    that; JSON has all of it in one document. Of a customer who is merged the answer is about all ids that are one.

    Example: kehu show customer c-100023 --kind complaint --since 2026-01-01
    """
    customers = linked(postgres, customer_id) if at or known_at else ()
    with reading(
        postgres,
        *ABOUT_ONE,
        min_position=min_position,
        wait=wait,
        at=at,
        known_at=known_at,
        customers=customers,
    ) as (answer, now):
        whole = whole_of(answer, customer_id, now)
        ids = whole.group.members
        risk = whole.scores["retention"]
        known = whole.profile or whole.cases or whole.customer["erased"]
        if risk is None and not (known or any(timeline(answer, ids, 1))):
            raise UnknownCustomer(customer_id)
        if not (as_json or as_csv or as_ndjson):
            _print(whole, now)
        print_rows(
            f"What happened with {customer_id}, newest first",
            timeline(
                answer,
                ids,
                limit,
                since=since,
                until=until,
                kind=kind,
                channel=channel,
            ),
            as_json,
            as_csv,
            as_ndjson,
            people=_for_people if not whole.group.merged else _for_people_with_id,
            wide=("what",),
            limit=limit,
            fresh=answer.fresh,
            about=whole.about(),
        )


def _print(whole: Whole, now: datetime) -> None:
    customer_id, group, risk = whole.customer["customer_id"], whole.group, whole.scores["retention"]
    if group.merged:
        say(f"Customer {customer_id} is one with {', '.join(one for one in group.members if one != customer_id)}.")
        say(f"The survivor is {group.survivor}; all that follows is of all of them.")
    for one in whole.customer["restrictions"]:
        say(f"{one['customer_id']} asked to be forgotten; kept until {one['until']}: {one['basis']}", "yellow")
    for one in whole.customer["erased"]:
        say(f"{told_of(one)}. What happened stays, under an id that names nobody here.", "yellow")
    for conflict in whole.customer["conflicts"]:
        told = "; ".join(f"{', '.join(ids)}: {value}" for value, ids in conflict["values"].items())
        say(f"They have different {conflict['field']}s ({told}). Correct one, or unmerge.", "bold red")
    if whole.profile:
        print_rows(
            f"Customer {customer_id}",
            [_field_for_people(name, field, group) for name, field in whole.profile.items()],
            wide=("value", "set by"),
        )
    elif not whole.customer["erased"]:
        say(f"Customer {customer_id} is not registered; what happened is known all the same.")
    if whole.consents:
        names = {"purpose": "purpose", "channel": "channel", "status": "status", "valid": "valid"}
        rows = [
            {**{shown: one[name] for name, shown in names.items()}, "since": one["since"], "until": one["expires_at"]}
            for one in whole.consents
        ]
        print_rows("Consents", rows, wide=("purpose",))
    if len(whole.projects) > 1 or (whole.projects and "project_id" not in whole.profile):
        print_rows("Projects", whole.projects)
    print_rows("Scores", _scores_for_people(risk, whole.scores), wide=("what",))
    if whole.cases:
        names_of_cases = ("case", "state", "queue", "status", "statutory_due", "service_due")
        print_rows("Open cases", [{name: one[name] for name in names_of_cases} for one in whole.cases], wide=("case",))
    if whole.contacts:
        print_rows(
            "Open contacts",
            [
                {
                    **{name: one[name] for name in ("contact", "status", "queue", "channel", "owner")},
                    "waiting since": when(one["waiting_since"], now),
                }
                for one in whole.contacts
            ],
            wide=("contact",),
        )


def _field_for_people(name: str, field: Row, group: Group) -> Row:
    shown = {
        "field": name.replace("_", " "),
        "value": field["value"],
        "set by": field["event"],
        "at": field["occurred_at"],
        "position": field["position"],
    }
    if group.merged:
        shown["of"] = field["customer_id"]
        shown["others have"] = ", ".join(f"{one['value']} ({one['customer_id']})" for one in field["others"]) or None
    return shown


def _scores_for_people(risk: Row | None, scores: Row) -> list[Row]:
    service = scores["service"]
    rows: list[Row] = []
    if risk is not None:
        share = percent(risk["probability"], 1)
        rows.append({"score": "retention risk", "is": risk["band"], "what": share, "as of": risk["scored_at"]})
    for one in scores["satisfaction"]:
        told = {"score": f"last {one['metric'].upper()}", "is": f"{one['score']} of {one['scale']}"}
        rows.append({**told, "what": f"by {one['channel']}", "as of": one["answered_at"]})
    counts = ", ".join(f"{service[name]} {name.replace('_', ' ')}" for name in ("overdue", "at_risk"))
    waiting = f"{service['contacts_waiting']} contact(s) waiting"
    rows.append(
        {"score": "service", "is": f"{service['open_cases']} open", "what": f"{counts}, {waiting}", "as of": None}
    )
    return rows


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {"when (UTC)": row["occurred_at"], "event": row["type"], "what": row["summary"], "position": row["position"]}


def _for_people_with_id(row: dict[str, Any]) -> dict[str, Any]:
    return {**_for_people(row), "of": row["customer_id"]}
