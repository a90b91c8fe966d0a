"""Contacts: how many, how long, and which settled their topic at once."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from domain.values import Recorded
from projections.declare import Key, Row, Rows
from projections.measures.first_contact import FIRST_CONTACT
from projections.measures.times import seconds_between
from projections.outcomes.rules import OUTCOMES
from projections.outcomes.tables import CONTACTS, PEOPLE, TOTALLED, cell_of, count, dimensions_of

# A customer's last contact about a topic, as JSON has it: [contact, seconds since 1970, resolved, day, dimensions …].
CONTACT, AT, RESOLVED, DAY = range(4)


def _queued(rows: Rows, event: Recorded) -> None:
    """A contact counts. If it comes shortly after (or, told late, before) another one, neither settled the topic."""
    queued: Any = event.event
    at, customer = event.meta.occurred_at, (event.meta.customer_id,)
    person = rows.get(PEOPLE, customer)
    cell = cell_of(queued, person, at)
    count(rows, cell, contacts=1)
    topic, seconds = queued.reason or "", int(at.timestamp())
    window = FIRST_CONTACT.at(at).days * 86_400
    known: dict[str, Any] = (person and person["recent"]) or {}
    recent = {name: last for name, last in known.items() if seconds - last[AT] <= window}
    last = recent.get(topic)
    again = False
    if last is not None and abs(seconds - last[AT]) <= window:
        again = True
        if last[RESOLVED]:
            count(rows, _cell(last), first_time=-1)
            last = recent[topic] = [last[CONTACT], last[AT], False, *last[DAY:]]
    if last is None or seconds >= last[AT]:
        recent[topic] = [event.originator_id, seconds, False, cell[0].isoformat(), *cell[1:]]
    if person is None:
        person = {"branch": "", "segment": "", "project_id": "", "recent": recent}
    else:
        person["recent"] = recent
    rows.put(PEOPLE, customer, person)
    contact = dict(zip(("day", *TOTALLED), cell, strict=True))
    contact |= {"topic": topic, "again": again, "started_at": None, "seconds": 0}
    rows.put(CONTACTS, (event.originator_id,), contact)


def _cell(last: list[Any]) -> Key:
    return (date.fromisoformat(last[DAY]), *last[DAY + 1 :])


def _started(rows: Rows, event: Recorded) -> None:
    contact = rows.get(CONTACTS, (event.originator_id,))
    if contact is not None and contact["started_at"] is None:  # another agent who joins begins nothing
        contact["started_at"] = event.meta.occurred_at
        rows.put(CONTACTS, (event.originator_id,), contact)


def _worked(contact: Row, until: datetime) -> int:
    """The seconds of work until then."""
    start = contact["started_at"]
    worked: int = contact["seconds"]
    return worked if start is None else worked + seconds_between(start, until)


def _transferred(rows: Rows, event: Recorded) -> None:
    transferred: Any = event.event
    contact = rows.get(CONTACTS, (event.originator_id,))
    if contact is None:
        return
    at = event.meta.occurred_at
    contact["seconds"] = min(_worked(contact, at), OUTCOMES.at(at).longest_handling_seconds)
    contact["started_at"] = at if transferred.to_agent else None
    rows.put(CONTACTS, (event.originator_id,), contact)


def _ended(rows: Rows, event: Recorded) -> None:
    """Talk and hold are from the answer to the end; wrap-up comes on top."""
    ended: Any = event.event
    contact = rows.get(CONTACTS, (event.originator_id,))
    if contact is None:
        return
    at = event.meta.occurred_at
    longest = OUTCOMES.at(at).longest_handling_seconds
    seconds = min(_worked(contact, at) + ended.wrap_up_seconds, longest)
    counts = {"handled": 1, "seconds": seconds, "seconds_squared": seconds * seconds}
    if ended.resolved and not contact["again"] and _settles(rows, event, contact["topic"], FIRST_CONTACT.at(at).days):
        counts["first_time"] = 1
    count(rows, (contact["day"], *dimensions_of(contact)), **counts)
    rows.drop(CONTACTS, (event.originator_id,))


def _settles(rows: Rows, event: Recorded, topic: str, days: int) -> bool:
    """Whether no other contact about the topic came meanwhile. If none did, one that comes soon takes this back."""
    key = (event.meta.customer_id,)
    person = rows.get(PEOPLE, key)
    last = (person["recent"] or {}).get(topic) if person else None
    if person is None or last is None:
        return True  # it is out of the window of a later contact
    seconds = int(event.meta.occurred_at.timestamp())
    if last[CONTACT] != event.originator_id:
        return bool(abs(last[AT] - seconds) > timedelta(days=days).total_seconds())
    person["recent"] = {**person["recent"], topic: [last[CONTACT], max(seconds, last[AT]), True, *last[DAY:]]}
    rows.put(PEOPLE, key, person)
    return True


def _abandoned(rows: Rows, event: Recorded) -> None:
    """Nobody worked on it. It stays the customer's last contact: who has to come again was not served at once."""
    rows.drop(CONTACTS, (event.originator_id,))


FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {
    "contact.queued": _queued,
    "contact.started": _started,
    "contact.transferred": _transferred,
    "contact.ended": _ended,
    "contact.abandoned": _abandoned,
}
