"""Dead letters as operators send them again: as they came, or a copy that was corrected."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import psycopg

from infra import publishing
from infra.errors import KehuError, Unreadable
from infra.kafka.limits import REPLAYED, Limits
from infra.kafka.producer import HEADERS, Outgoing
from infra.postgres.dead_letters import get_dead_letters

REPAIRS = "kehu-repairs"
"""The header of a repaired event: the id of its dead letter."""
Letter = dict[str, Any]
Event = dict[str, Any]


class NoSuchLetter(KehuError):
    """There is no dead letter with this id. `kehu dead-letters list` shows them."""


class NotReplayed(KehuError):
    """Not everything was replayed."""


class NotRepaired(KehuError):
    """The corrected event would not be accepted, and was not published. Correct what the detail names."""


class NotEditable(KehuError):
    """The dead letter is no event in JSON that could be corrected in place. Give the whole event: with --file, or over
    HTTP as `event`.
    """


class WrongPath(KehuError):
    """The event has no such path to be corrected. Write the names from the outside with points between them."""

    exit_code = 2


def letter_of(conn: "psycopg.Connection[Any]", letter_id: int) -> Letter:
    """A dead letter with its bytes. Raises NoSuchLetter."""
    found = get_dead_letters(conn, [letter_id])
    if not found:
        raise NoSuchLetter(str(letter_id))
    return found[0]


def sendable(letters: Sequence[Letter]) -> list[Letter]:
    """Those that can be sent again; no message has neither key nor value, was erased, or is a damaged batch."""
    there = [one for one in letters if (one["key"], one["value"]) != (None, None)]
    return [one for one in there if one["rule"] != "skipped" and one["unreadable"] is None]


def left_out(number: int) -> NotReplayed:
    """What is told of letters that could not be sent."""
    reasons = "have neither key nor value, were erased, or are no messages but the bytes of a damaged batch"
    return NotReplayed(f"{number} {reasons}")


def as_it_came(letter: Letter) -> Outgoing:
    """The same bytes, key and headers to their topic, with a header that names the letter."""
    headers = [(name, value) for name, value in letter["headers"] if name != REPLAYED]
    return letter["topic"], letter["key"], letter["value"], [*headers, (REPLAYED, str(letter["id"]).encode())]


def corrected(letter: Letter, given: Mapping[str, Any], removed: Sequence[str], whole: Event | None = None) -> Event:
    """A copy of its event, or the `whole` one that is given, with values at these paths, and without those.

    It has the letter's id with `.repair-ID`, unless the correction gives another, and `causationid` names the old id
    where nothing else caused it. Raises NotEditable and WrongPath.
    """
    event = event_of(letter) if whole is None else whole
    before = letter["event_id"] or (event.get("id") if whole is None else None)
    for path, value in given.items():
        holder, name = _holder(event, path)
        holder[name] = value
    for path in removed:
        holder, name = _holder(event, path)
        if name not in holder:
            raise WrongPath(path)
        del holder[name]
    _link(event, letter["id"], before)
    return event


def outgoing(event: Event, letter_id: int, now: datetime, limits: Limits) -> Outgoing:
    """A corrected event as it is published. Raises NotRepaired when no worker would accept it now."""
    try:
        one = publishing.checked(orjson.dumps(event), now, limits)
    except Unreadable as error:
        raise NotRepaired(f"{error.rule}: {error.detail}") from error
    return one.topic, one.key, one.value, [*HEADERS, (REPAIRS, str(letter_id).encode())]


def event_of(letter: Letter) -> Event:
    """The event of a letter in structured form, also when it came in binary mode. Raises NotEditable."""
    attributes = {}
    for name, value in letter["headers"]:
        if name.startswith("ce_") and value is not None:
            try:
                attributes[name.removeprefix("ce_")] = value.decode()
            except UnicodeDecodeError as error:
                raise NotEditable(f"the header {name} is not UTF-8") from error
    event = parsed(letter["value"] or b"")
    return {**attributes, "datacontenttype": "application/json", "data": event} if "type" in attributes else event


def parsed(value: bytes) -> Event:
    """An event in JSON. Raises NotEditable."""
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise NotEditable(str(error)) from error
    if not isinstance(event, dict):
        raise NotEditable("the value is no object")
    return event


def _holder(event: Event, path: str) -> tuple[Event, str]:
    """The object in which the last name of a path stands."""
    *names, last = path.split(".")
    holder: Any = event
    for name in names:
        holder = holder.setdefault(name, {})
        if not isinstance(holder, dict):
            raise WrongPath(f"{name} in {path} is no object")
    return holder, last


def _link(event: Event, letter_id: int, before: object) -> None:
    """Another id than the letter's, and where it came from."""
    if event.get("id") in (None, before):
        event["id"] = f"{str(before or 'dead-letter')[:200]}.repair-{letter_id}"
    if isinstance(before, str) and event.get("causationid") is None:
        event["causationid"] = before
