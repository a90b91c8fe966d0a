"""Contact: one conversation on any channel, from the queue to its end. Stream `contact-{contact_id}`."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta as Says
from msgspec.structs import replace

from domain.errors import NotYet, Refused
from domain.personal import PersonalLabel
from domain.registry import register
from domain.values import (
    Count,
    Dimensions,
    Event,
    Fact,
    Flag,
    Id,
    Label,
    Meta,
    StreamName,
    Value,
    fingerprint,
    require_customer,
)


def stream_name(contact_id: str) -> StreamName:
    """The stream of one contact."""
    return StreamName(f"contact-{contact_id}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class ContactQueued(Dimensions):
    """A customer waits to be served; a walk-in that is served at once is queued and started at the same time."""

    contact_id: Id
    queue: Label
    channel: Label
    priority: Annotated[int, Says(ge=1, le=4)] = 3
    reason: Annotated[Label | None, Says(description="what the customer wants, for first-contact resolution")] = None


class ContactStarted(Event):
    """An agent answered."""

    contact_id: Id
    agent_id: Id | None = None


class ContactTransferred(Event):
    """The contact moved to another queue (and waits again) or straight to another agent (and goes on)."""

    contact_id: Id
    to_queue: Label
    to_agent: Id | None = None
    reason: PersonalLabel | None = None


class ContactEnded(Event):
    """The conversation is over."""

    contact_id: Id
    resolved: Flag
    hold_seconds: Count = 0
    wrap_up_seconds: Count = 0
    disposition: Label | None = None


class ContactAbandoned(Event):
    """The customer left before an agent answered."""

    contact_id: Id
    reason: PersonalLabel | None = None


# --- state ---

Status = Literal["waiting", "active", "ended", "abandoned"]


class Contact(Value):
    """Where a contact stands. `opening` is the fingerprint of its first fact, to know it when it is sent twice."""

    customer_id: str
    status: Status
    queue: str
    channel: str
    queued_at: datetime
    opening: str
    agent_id: str | None = None


def evolve(state: Contact | None, event: Event, meta: Meta) -> Contact:
    """The state after an event; never fails on what `decide` returned."""
    if isinstance(event, ContactQueued):
        opening = fingerprint(event, meta.occurred_at)
        return Contact(meta.customer_id, "waiting", event.queue, event.channel, meta.occurred_at, opening)
    assert state is not None
    match event:
        case ContactStarted():
            return replace(state, status="active", agent_id=event.agent_id)
        case ContactTransferred():
            return _moved(state, event)
        case ContactEnded():
            return replace(state, status="ended")
        case _:
            return replace(state, status="abandoned")


def _moved(state: Contact, to: ContactTransferred) -> Contact:
    return replace(state, status="active" if to.to_agent else "waiting", queue=to.to_queue, agent_id=to.to_agent)


# --- refusals ---


class ContactNotQueuedYet(NotYet):
    """The contact has not been queued yet. It is tried again when its first event arrives."""


class ContactNotStartedYet(NotYet):
    """No agent has answered this contact yet. It is tried again when the start arrives."""


class ContactQueuedDifferently(Refused):
    """This contact was queued before with other details. Give a new contact a new id."""


class ContactIsOver(Refused):
    """The contact has ended. Queue a new contact under a new id."""


class ContactWasAnswered(Refused):
    """An agent answered this contact, so the customer did not abandon it. Publish its end instead."""


# --- decisions ---


def _queue(state: Contact | None, data: ContactQueued, meta: Meta) -> tuple[Event, ...]:
    if state is None:
        return (data,)
    if state.opening == fingerprint(data, meta.occurred_at):
        return ()
    raise ContactQueuedDifferently(data.contact_id)


def _start(state: Contact, data: ContactStarted) -> tuple[Event, ...]:
    if state.status in OVER:
        raise ContactIsOver(data.contact_id)
    return () if state.status == "active" and state.agent_id == data.agent_id else (data,)


def _transfer(state: Contact, data: ContactTransferred) -> tuple[Event, ...]:
    if state.status in OVER:
        raise ContactIsOver(data.contact_id)
    return () if _moved(state, data) == state else (data,)


def _end(state: Contact, data: ContactEnded) -> tuple[Event, ...]:
    if state.status == "ended":
        return ()
    if state.status == "abandoned":
        raise ContactIsOver(data.contact_id)
    if state.status == "waiting":
        raise ContactNotStartedYet(data.contact_id)
    return (data,)


def _abandon(state: Contact, data: ContactAbandoned) -> tuple[Event, ...]:
    if state.status == "abandoned":
        return ()
    if state.status == "ended":
        raise ContactIsOver(data.contact_id)
    if state.status == "active":
        raise ContactWasAnswered(data.contact_id)
    return (data,)


OVER: frozenset[Status] = frozenset({"ended", "abandoned"})
_DECISIONS: dict[type[Event], Callable[[Contact, Any], tuple[Event, ...]]] = {
    ContactStarted: _start,
    ContactTransferred: _transfer,
    ContactEnded: _end,
    ContactAbandoned: _abandon,
}


def decide(state: Contact | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this contact; empty when it says nothing new. Raises NotYet or Refused."""
    data = fact.data
    if state is not None:
        require_customer(state.customer_id, fact)
    if isinstance(data, ContactQueued):
        return _queue(state, data, fact.meta)
    if state is None:
        raise ContactNotQueuedYet(fact.meta.event_id)
    return _DECISIONS[type(data)](state, data)


register("contact.queued", ContactQueued)
register("contact.started", ContactStarted)
register("contact.transferred", ContactTransferred)
register("contact.ended", ContactEnded)
register("contact.abandoned", ContactAbandoned)
