"""`kehu dead-letters repair`: correct the event of a dead letter, and publish it under a new id."""

from typing import Annotated, Any

import orjson
import typer

from domain.administration import DeadLetterRepaired
from infra import bootstrap, settings
from infra.cli.output import print_json, say
from infra.cli.servers import OptionalKafka, Postgres, asked, connected, require_told_kafka
from infra.cli.who import By, Reason, tell, who
from infra.kafka.producer import publish
from infra.operating import letters
from infra.postgres.dead_letters import mark_repaired


def repair(
    letter_id: Annotated[int, typer.Argument(metavar="ID")],
    postgres: Postgres = "",
    kafka: OptionalKafka = "",
    given: Annotated[
        list[str] | None, typer.Option("--set", help="PATH=VALUE, such as data.score=5; JSON, else text.")
    ] = None,
    removed: Annotated[list[str] | None, typer.Option("--remove", help="PATH, such as data.mood.")] = None,
    file: Annotated[
        typer.FileBinaryRead | None, typer.Option("--file", help="The whole event as JSON; - for standard input.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate and print the event, publish nothing.")] = False,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Correct a copy of a dead letter's event, validate it, and publish it under a new id.

    The new id is the old one with `.repair-ID`, unless the correction gives another; so a letter that is repaired twice
    counts once. `causationid` names the old id where nothing else caused the event, and the header `kehu-repairs` the
    letter, which is kept as it came.

    Example: kehu dead-letters repair 17 --set data.score=5 --remove data.mood
    """
    if not (given or removed or file):
        raise typer.BadParameter("say what is to be corrected", param_hint="--set, --remove or --file")
    with connected(postgres) as conn:
        letter = letters.letter_of(conn, letter_id)
        whole = letters.parsed(file.read()) if file else None
        event = letters.corrected(letter, dict(map(_assigned, given or ())), removed or (), whole)
        message = letters.outgoing(event, letter_id, bootstrap.now(), bootstrap.limits(settings.accepted()))
        if dry_run:
            print_json(event)
            return
        require_told_kafka(kafka)
        asked(kafka, publish(kafka, [message]), 60)
        mark_repaired(conn, letter_id, event["id"])
        tell(conn, DeadLetterRepaired(by=who(by), reason=reason, letter=letter_id, repaired_as=event["id"]))
    say(f"dead letter {letter_id} was repaired and published as {event['id']}")


def _assigned(assignment: str) -> tuple[str, Any]:
    path, equals, text = assignment.partition("=")
    if not path or not equals:
        raise typer.BadParameter(f"{assignment!r} is not PATH=VALUE", param_hint="--set")
    try:
        return path, orjson.loads(text)
    except orjson.JSONDecodeError:
        return path, text
