"""Action: what the bank does about a cause of complaints. Stream `action-{action_id}`.

An action is the bank's own and about no customer; its facts carry the subject `kehu:bank` (docs/adr/0014).
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta as Says
from msgspec.structs import replace

from domain.errors import NotYet, Refused
from domain.registry import register
from domain.values import BANK, Event, Fact, Id, Label, Meta, StreamName, Text, Value, fingerprint


def stream_name(action_id: str) -> StreamName:
    """The stream of one action."""
    return StreamName(f"action-{action_id}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class ActionOpened(Event):
    """Somebody takes on a cause. Product, cause and branch name its complaints; one that is absent means any."""

    action_id: Id
    owner: Id
    due: date
    description: Text
    product: Label | None = None
    cause: Label | None = None
    branch: Label | None = None


class ActionClosed(Event):
    """It is done, or nobody goes on with it."""

    action_id: Id
    result: Literal["done", "dropped"] = "done"
    effective_on: Annotated[date | None, Says(description="from when it works; the day of this event if absent")] = None
    note: Text | None = None


# --- state ---


class Action(Value):
    """Whether the action is closed. The fingerprints know a fact again when it is sent twice."""

    opening: str
    closing: str | None = None


def evolve(state: Action | None, event: Event, meta: Meta) -> Action:
    """The state after an event; never fails on what `decide` returned."""
    if state is None:
        return Action(fingerprint(event))
    return replace(state, closing=fingerprint(event))


# --- refusals ---


class ActionNotOpenedYet(NotYet):
    """The action has not been opened yet. It is tried again when its first event arrives."""


class ActionOpenedDifferently(Refused):
    """This action was opened before with other details. Give a new action a new id."""


class ActionIsClosed(Refused):
    """The action is closed, and with other details. Open a new action under a new id."""


class ActionIsAboutNoCustomer(Refused):
    """An action is the bank's own. Publish it with the subject kehu:bank, which is then the Kafka key, too."""


# --- decisions ---


def decide(state: Action | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this action; empty when it says nothing new. Raises NotYet or Refused."""
    data = fact.data
    if fact.meta.customer_id != BANK:
        raise ActionIsAboutNoCustomer(fact.meta.customer_id)
    said = fingerprint(data)
    if isinstance(data, ActionOpened):
        if state is None:
            return (data,)
        if state.opening == said:
            return ()
        raise ActionOpenedDifferently(data.action_id)
    if state is None:
        raise ActionNotOpenedYet(fact.meta.event_id)
    if state.closing is None:
        return (data,)
    if state.closing == said:
        return ()
    raise ActionIsClosed(stream_name(data.action_id))  # type: ignore[attr-defined]


register("action.opened", ActionOpened)
register("action.closed", ActionClosed)
