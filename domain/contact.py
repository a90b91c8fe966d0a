"""Contact: one conversation on any channel, from the queue to its end. Stream `contact-{contact_id}`."""

from typing import Annotated

from pydantic import Field

from domain.registry import register
from domain.values import Count, Dimensions, Event, Flag, Id, Label, StreamName


def stream_name(contact_id: str) -> StreamName:
    """The stream of one contact."""
    return StreamName(f"contact-{contact_id}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class ContactQueued(Dimensions):
    """A customer waits to be served; a walk-in that is served at once is queued and started at the same time."""

    contact_id: Id
    queue: Label
    channel: Label
    priority: Annotated[int, Field(strict=True, ge=1, le=4)] = 3
    reason: Label | None = Field(default=None, description="what the customer wants, for first-contact resolution")


class ContactStarted(Event):
    """An agent answered."""

    contact_id: Id
    agent_id: Id | None = None


class ContactTransferred(Event):
    """The contact moved to another queue (and waits again) or straight to another agent (and goes on)."""

    contact_id: Id
    to_queue: Label
    to_agent: Id | None = None
    reason: Label | None = None


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
    reason: Label | None = None


register("contact.queued", ContactQueued)
register("contact.started", ContactStarted)
register("contact.transferred", ContactTransferred)
register("contact.ended", ContactEnded)
register("contact.abandoned", ContactAbandoned)
