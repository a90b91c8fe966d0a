"""Contacts: how many, how long, and which settled their topic at once."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from domain.values import Recorded
from projections.declare import Row, Rows
from projections.measures.first_contact import came, settled, topic_of
from projections.measures.times import seconds_between
from projections.outcomes.rules import OUTCOMES
from projections.outcomes.tables import CONTACTS, PEOPLE, TOTALLED, cell_of, count, dimensions_of


def _queued(rows: Rows, event: Recorded) -> None:
    """A contact counts. If it comes shortly after (or, told late, before) another one, neither settled the topic."""
    queued: Any = event.event
    at, customer = event.meta.occurred_at, (event.meta.customer_id,)
    person = rows.get(PEOPLE, customer)
    cell = cell_of(queued, person, at)
    count(rows, cell, contacts=1)
    topic = topic_of(queued)
    recent, again, taken_back = came((person and person["recent"]) or {}, event.originator_id, topic, at)
    if taken_back is not None:
        count(rows, (date.fromisoformat(taken_back[0]), *taken_back[1:]), first_time=-1)
    if person is None:
        person = {"branch": "", "segment": "", "project_id": "", "recent": recent}
    else:
        person["recent"] = recent
    rows.put(PEOPLE, customer, person)
    contact = dict(zip(("day", *TOTALLED), cell, strict=True))
    contact |= {"topic": topic, "again": again, "started_at": None, "seconds": 0}
    rows.put(CONTACTS, (event.originator_id,), contact)


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
    if ended.resolved and not contact["again"] and _settles(rows, event, contact):
        counts["first_time"] = 1
    count(rows, (contact["day"], *dimensions_of(contact)), **counts)
    rows.drop(CONTACTS, (event.originator_id,))


def _settles(rows: Rows, event: Recorded, contact: Row) -> bool:
    """Whether it settled its topic, on the day that it was queued."""
    key = (event.meta.customer_id,)
    person = rows.get(PEOPLE, key)
    where = (contact["day"].isoformat(), *dimensions_of(contact))
    known = (person and person["recent"]) or {}
    recent, counts = settled(known, event.originator_id, contact["topic"], event.meta.occurred_at, where)
    if person is not None and recent is not None:
        person["recent"] = recent
        rows.put(PEOPLE, key, person)
    return counts


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
