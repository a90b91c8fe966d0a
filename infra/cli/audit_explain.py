"""`kehu audit explain`: a score or a deadline as it stood at a moment, with all that it followed from."""

from typing import Annotated, Any

import typer

from infra import bootstrap, explained
from infra.cli.case import print_case, print_clocks
from infra.cli.output import Json, cell, percent, print_json, print_rows, say
from infra.cli.reading import At, KnownAt, linked, reading
from infra.cli.servers import Postgres, connected
from infra.postgres.past import Moment
from infra.postgres.questions.customers import ABOUT_ONE
from infra.postgres.replayed import told_of

explain = typer.Typer(no_args_is_help=True, help="Why a score or a deadline was what it was at a moment.")


@explain.command()
def risk(
    customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER", help="The customer.")],
    postgres: Postgres = "",
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
) -> None:
    """The retention risk of a customer as it stood: reasons, model, windows, and the events behind each reason.

    As it stood means by what the bank knew at --at, now without it. With --known-at by what it knew at another time,
    later too: how it was, and not what was known.

    Example: kehu audit explain risk c-100023 --at 2026-03-01
    """
    at = at or bootstrap.now()
    customers = linked(postgres, customer_id)
    with reading(postgres, *ABOUT_ONE, at=at, known_at=known_at or at, customers=customers) as (answer, now):
        told = explained.risk(answer, customer_id, now)
    if as_json:
        print_json(told)
        return
    share = percent(told["probability"], 1)
    about = f"{told['band']}" + (f", {share}, score {told['score']}" if share else "")
    say(f"Retention risk of {customer_id} at {cell(told['at'])} UTC: {about}", "bold")
    if len(told["ids"]) > 1:
        say(f"One with {', '.join(one for one in told['ids'] if one != customer_id)}")
    model, windows = told["model"], told["windows"]
    since = f", champion since {cell(model['promoted_at'])}" if model["promoted_at"] else ""
    say(f"Model {model['id']} ({model['kind']}){since}; windows version {windows['version']}")
    if told["logit"] is not None:
        say(f"Logit {told['logit']:g} = base {model['base']:g} and the points of the reasons")
    say(f"Scored at {cell(told['scored_at'])} UTC from {told['events']} events up to position {told['position']:,}")
    print_rows("Reasons", [_reason_for_people(one) for one in told["reasons"]], wide=("value", "events"))
    print_rows("Events", _events_for_people(told["reasons"]), wide=("event",))


def _reason_for_people(reason: dict[str, Any]) -> dict[str, Any]:
    names = ("points", "code", "value", "window")
    positions = dict.fromkeys(str(one["position"]) for one in reason["events"])
    return {**{name: reason[name] for name in names}, "events": ", ".join(positions)}


def _events_for_people(reasons: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {event["position"]: event for reason in reasons for event in reason["events"]}
    return [event_for_people(found[position]) for position in sorted(found)]


def event_for_people(event: dict[str, Any]) -> dict[str, Any]:
    """An event with both of its times."""
    shown = {"position": event["position"], "event": event["name"]}
    return {**shown, "happened": event["happened_at"], "recorded": event["recorded_at"], "stream": event["stream"]}


@explain.command()
def case(
    case_id: Annotated[str, typer.Argument(metavar="CASE", help="The case.")],
    postgres: Postgres = "",
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
) -> None:
    """A case as it stood: both clocks, the time that each counted under which preset and calendar, and its events.

    As it stood means by what the bank knew at --at, now without it. With --known-at by what it knew at another time,
    later too: how it was, and not what was known.

    Example: kehu audit explain case p-1 --at 2026-03-01
    """
    now = at or bootstrap.now()
    moment = Moment(now, known_at or now)
    with connected(postgres) as conn:
        if as_json:
            print_json(explained.case(conn, case_id, moment))
            return
        shown, why, events = explained.case_at(conn, case_id, moment)
    print_case(shown, now)
    print_clocks(why)
    print_rows("Events", [event_for_people(told_of(one)) for one in events], wide=("event",))
