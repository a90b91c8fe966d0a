"""`kehu dead-letters repair`: correct the event of a dead letter, and publish it under a new id."""

from typing import Annotated, Any

import orjson
import typer

from infra.cli.dead_letters import NoSuchLetter
from infra.cli.output import print_json, say
from infra.cli.publish import checked
from infra.cli.servers import OptionalKafka, Postgres, asked, connected, require_told_kafka
from infra.errors import KehuError, Unreadable
from infra.kafka.producer import HEADERS, publish
from infra.postgres import ops

REPAIRS = "kehu-repairs"
"""The header of a repaired event: the id of its dead letter."""


class NotRepaired(KehuError):
    """The corrected event would not be accepted, and was not published. Correct what the detail names."""


class NotEditable(KehuError):
    """The dead letter is no event in JSON that could be corrected in place. Give the whole event with --file."""


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
        found = ops.get_dead_letters(conn, [letter_id])
        if not found:
            raise NoSuchLetter(str(letter_id))
        event = _parsed(file.read()) if file else _event_of(found[0])
        before = found[0]["event_id"] or (event.get("id") if not file else None)
        for one in given or ():
            _set(event, one)
        for path in removed or ():
            _remove(event, path)
        _link(event, letter_id, before)
        try:
            topic, key, value = checked(orjson.dumps(event))
        except Unreadable as error:
            raise NotRepaired(f"{error.rule}: {error.detail}") from error
        if dry_run:
            print_json(event)
            return
        require_told_kafka(kafka)
        headers = [*HEADERS, (REPAIRS, str(letter_id).encode())]
        asked(kafka, publish(kafka, [(topic, key, value, headers)]), 60)
        ops.mark_repaired(conn, letter_id, event["id"])
    say(f"dead letter {letter_id} was repaired and published as {event['id']}")


def _event_of(letter: dict[str, Any]) -> dict[str, Any]:
    """The event of a letter in structured form, also when it came in binary mode."""
    attributes = {}
    for name, value in letter["headers"]:
        if name.startswith("ce_") and value is not None:
            try:
                attributes[name.removeprefix("ce_")] = value.decode()
            except UnicodeDecodeError as error:
                raise NotEditable(f"the header {name} is not UTF-8") from error
    event = _parsed(letter["value"] or b"")
    return {**attributes, "datacontenttype": "application/json", "data": event} if "type" in attributes else event


def _parsed(value: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise NotEditable(str(error)) from error
    if not isinstance(event, dict):
        raise NotEditable("the value is no object")
    return event


def _set(event: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    if not path or not equals:
        raise typer.BadParameter(f"{assignment!r} is not PATH=VALUE", param_hint="--set")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    holder, name = _holder(event, path)
    holder[name] = value


def _remove(event: dict[str, Any], path: str) -> None:
    holder, name = _holder(event, path)
    if name not in holder:
        raise typer.BadParameter(f"the event has no {path}", param_hint="--remove")
    del holder[name]


def _holder(event: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The object in which the last name of a path stands."""
    *names, last = path.split(".")
    holder: Any = event
    for name in names:
        holder = holder.setdefault(name, {})
        if not isinstance(holder, dict):
            raise typer.BadParameter(f"{name} in {path} is no object", param_hint="--set, --remove")
    return holder, last


def _link(event: dict[str, Any], letter_id: int, before: object) -> None:
    """Another id than the letter's, and where it came from."""
    if event.get("id") in (None, before):
        event["id"] = f"{str(before or 'dead-letter')[:200]}.repair-{letter_id}"
    if isinstance(before, str) and event.get("causationid") is None:
        event["causationid"] = before
