"""`kehu show case`: one case as it stands, with both clocks, and why each is due when it is."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from domain import clocks
from domain.complaint.standing import ClockStanding, Standing
from infra import bootstrap
from infra.cli.output import Json, cell, percent, print_json, print_rows, say, when
from infra.cli.reading import At, KnownAt
from infra.cli.servers import Postgres, connected
from infra.explained import case_at, clock
from infra.postgres.past import Moment


def case(
    case_id: str,
    postgres: Postgres = "",
    explain: Annotated[bool, typer.Option("--explain", help="Also the time that each clock counted.")] = False,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
) -> None:
    """One case: status, owner, the statutory and the service clock side by side, and all that moved them.

    It is read from the case's own events, so it is as new as the log. A clock is at risk from three quarters of its
    time on; of one that is stopped the deadline is shown that it would have if work went on now.

    Example: kehu show case p-1 --explain
    """
    now = at or known_at or bootstrap.now()
    with connected(postgres) as conn:
        shown, why, _ = case_at(conn, case_id, Moment(now, known_at))
    if as_json:
        told = {"explanations": [clock(which, one) for which, one in why.items()]} if explain else {}
        print_json({**asdict(shown), **told})
        return
    print_case(shown, now)
    if explain:
        print_clocks(why)


def print_clocks(why: Mapping[clocks.Which, clocks.Explanation]) -> None:
    """Why each clock is due when it is, for people."""
    for which, one in why.items():
        say("")
        say(f"{which.capitalize()} clock", "bold")
        say(one.text())


def print_case(shown: Standing, now: datetime) -> None:
    """A case for people."""
    about = [shown.case_type.replace("_", " "), shown.status, f"queue {shown.queue}", f"severity {shown.severity}"]
    about += [f"owner {shown.owner}"] if shown.owner else []
    about += [f"outcome {shown.outcome}"] if shown.outcome else []
    about += ["vulnerable customer"] if shown.vulnerable else []
    about += [f"reopened {shown.reopened} times"] if shown.reopened else []
    say(f"Case {shown.case} of customer {shown.customer_id}: {', '.join(about)}", "bold")
    say(f"Received {cell(shown.received_at)} UTC" + _since(", acknowledged ", shown.acknowledged_at))
    if shown.related_to:
        say(f"{'The same matter as' if shown.same_matter else 'Related to'} case {shown.related_to}")
    print_rows("Clocks", [_clock_for_people(one, now) for one in shown.clocks])
    for one in shown.clocks:
        if one.restarted:
            say(f"New facts started the {one.clock} clock anew")
        if one.acknowledge_by is not None:
            say(f"Acknowledgement, {one.clock}: by {cell(one.acknowledge_by)} UTC, {one.acknowledged}")
    for title, rows in (
        ("Pauses", shown.pauses),
        ("Extensions", shown.extensions),
        ("New facts", shown.facts),
        ("Missed deadlines", shown.missed),
        ("Escalations", shown.escalations),
        ("Changes of policy", shown.policies),
    ):
        if rows:
            print_rows(title, rows, wide=("reason", "provided", "source", "description"))
    for name, until in shown.windows.items():
        say(f"After the decision: {name} until {cell(until)} UTC ({'open' if now <= until else 'over'})")


def _since(text: str, moment: datetime | None) -> str:
    return "" if moment is None else f"{text}{cell(moment)}"


def _clock_for_people(one: ClockStanding, now: datetime) -> dict[str, Any]:
    due = one.due_at or one.due_if_resumed
    return {
        "clock": one.clock,
        "preset": f"{one.preset} v{one.preset_version}",
        "start": one.starts_at,
        "due": due,
        "in": when(due, now) if one.state not in ("met", "missed") else None,
        "gone": percent(one.elapsed),
        "state": one.state,
    }
