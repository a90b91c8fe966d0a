"""`kehu actions` and `kehu show action`: what the bank does about a cause, and whether complaints became fewer."""

import asyncio
from datetime import date, datetime
from typing import Annotated, Any
from uuid import uuid4

import orjson
import typer

from domain.action import ActionClosed, ActionOpened
from domain.values import BANK, Event, Fact, Meta
from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows, say
from infra.cli.publish import checked
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import Kafka, Postgres, require_kafka
from infra.errors import KehuError
from infra.kafka import codec
from infra.kafka.producer import send
from infra.postgres.questions.outcomes import action_effect, actions
from projections.outcomes import OUTCOMES

SOURCE = "/kehu/actions"
ActionId = Annotated[str, typer.Argument(help="The id of the action.")]


class UnknownAction(KehuError):
    """No such action is shown. `kehu actions list` has all; `kehu doctor` tells whether the read models lag."""


def open_action(
    action: ActionId,
    owner: Annotated[str, typer.Option(help="Who answers for it.")],
    due: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="By when it is done.")],
    description: Annotated[str, typer.Option(help="What is done.")],
    kafka: Kafka = "",
    product: Annotated[str | None, typer.Option(help="Complaints about this product; any if absent.")] = None,
    cause: Annotated[str | None, typer.Option(help="Complaints with this cause; any if absent.")] = None,
    branch: Annotated[str | None, typer.Option(help="Complaints of this branch; any if absent.")] = None,
) -> None:
    """Publish that somebody takes on a cause of complaints.

    Example: kehu actions open fees-abroad --owner head-of-cards --due 2026-04-30 --description "Tell the fee first"
    """
    opened = ActionOpened(
        action_id=action,
        owner=owner,
        due=due.date(),
        description=description,
        product=product,
        cause=cause,
        branch=branch,
    )
    _publish(kafka, opened, f"action {action} opened")


def close_action(
    action: ActionId,
    kafka: Kafka = "",
    dropped: Annotated[bool, typer.Option("--dropped", help="Nobody goes on with it.")] = False,
    effective: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="From when it works; today if absent.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="What came of it.")] = None,
) -> None:
    """Publish that an action is done, or dropped.

    Example: kehu actions close fees-abroad --effective 2026-04-15 --note "in all branches"
    """
    since = effective.date() if effective else None
    closed = ActionClosed(action_id=action, result="dropped" if dropped else "done", effective_on=since, note=note)
    _publish(kafka, closed, f"action {action} closed")


def _publish(kafka: str, event: Event, told: str) -> None:
    """As `kehu publish` does: validated first. Raises Unreadable."""
    fact = Fact(event, Meta(str(uuid4()), SOURCE, BANK, bootstrap.now()))
    message = checked(codec.structured(fact)[1])
    require_kafka(kafka)
    asyncio.run(send(kafka, [message]))
    say(f"{told}: published as {orjson.loads(message[2])['id']}")


def list_actions(
    postgres: Postgres = "",
    owner: Annotated[str | None, typer.Option(help="Only those of this owner.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are not closed.")] = False,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Actions, the open ones first, by the day on which they are due.

    Example: kehu actions list --open --owner head-of-cards
    """
    with reading(postgres, OUTCOMES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        print_rows(
            "Actions",
            actions(answer, limit, only_open=only_open, owner=owner),
            as_json,
            as_csv,
            as_ndjson,
            people=lambda row: _for_people(row, now.date()),
            wide=("action", "what"),
            limit=limit,
            fresh=answer.fresh,
        )


def _for_people(row: dict[str, Any], today: date) -> dict[str, Any]:
    state = row["result"] or ("overdue" if row["due"] < today else "open")
    about = [row[name] or "any" for name in ("product", "cause", "branch")]
    return {
        "action": row["action_id"],
        "state": state,
        "owner": row["owner"],
        "due": row["due"],
        "product, cause, branch": ", ".join(about),
        "what": row["description"],
    }


def action(
    action: ActionId,
    postgres: Postgres = "",
    window: Annotated[int, typer.Option(min=1, max=3660, help="Days before, and days after.")] = 90,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """One action, and the complaints of its product, cause and branch before and after it.

    The ratio of the two rates has a 95 % interval. An action that was opened at a peak looks good by that alone: peaks
    come down by themselves.

    Example: kehu show action fees-abroad --window 60
    """
    with reading(postgres, OUTCOMES, min_position=min_position, wait=wait, at=at, known_at=known_at) as (
        answer,
        now,
    ):
        found = action_effect(answer, action, window, now.date())
        if found is None:
            raise UnknownAction(action)
        rows = [{n: round(v, 4) if isinstance(v, float) else v for n, v in found.items()}]
        if as_json or as_csv or as_ndjson:
            print_rows("Action", rows, as_json, as_csv, as_ndjson, fresh=answer.fresh)
        else:
            lines = [{"": name.replace("_", " "), "value": value} for name, value in rows[0].items()]
            print_rows(f"Action {action}", lines, wide=("value",), fresh=answer.fresh)
