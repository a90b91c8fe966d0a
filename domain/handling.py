"""Which aggregate decides on which fact: the one table, and the few ways to use it.

`registry` knows events by their names; here they are known by whose they are, and so to which stream they go.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any

import msgspec

from domain import account, action, administration, complaint, contact, customer, registry, survey
from domain.errors import Refused
from domain.values import BANK, Event, Fact, Meta, Recorded, StreamName


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate: its stream for a fact, its decision, its fold, and how its state becomes JSON."""

    kind: str
    stream: Callable[[Any, Meta], StreamName]
    decide: Callable[[Any, Fact], tuple[Event, ...]]
    evolve: Callable[[Any, Event, Meta], object]
    state: type[Any]


AGGREGATES = (
    Aggregate(
        "customer",
        lambda _data, meta: customer.stream_name(meta.customer_id),
        customer.decide,
        customer.evolve,
        customer.Customer,
    ),
    Aggregate(
        "contact",
        lambda data, _meta: contact.stream_name(data.contact_id),
        contact.decide,
        contact.evolve,
        contact.Contact,
    ),
    Aggregate(
        "complaint",
        lambda data, _meta: complaint.stream_name(data.complaint_id),
        complaint.decide,
        complaint.evolve,
        complaint.Complaint,
    ),
    Aggregate(
        "survey",
        lambda data, _meta: survey.stream_name(data.invitation_id),
        survey.decide,
        survey.evolve,
        survey.Survey,
    ),
    Aggregate(
        "account",
        lambda data, _meta: account.stream_name(data.account_id, data.booked_on),
        account.decide,
        account.evolve,
        account.AccountMonth,
    ),
    Aggregate(
        "action",
        lambda data, _meta: action.stream_name(data.action_id),
        action.decide,
        action.evolve,
        action.Action,
    ),
    Aggregate(
        "administration",
        lambda data, _meta: administration.stream_name(data.area),
        administration.decide,
        administration.evolve,
        administration.Administration,
    ),
)

_BY_KIND = {aggregate.kind: aggregate for aggregate in AGGREGATES}
_BY_STATE: dict[type, Aggregate] = {aggregate.state: aggregate for aggregate in AGGREGATES}
# An event belongs to the aggregate in whose module, `domain.<kind>` or one below it, its class is declared.
_BY_EVENT = {one.event: _BY_KIND[one.event.__module__.split(".")[1]] for one in registry.all_registrations()}


def aggregate_of(event: Event) -> Aggregate:
    """The aggregate in whose module the event is declared."""
    return _BY_EVENT[type(event)]


def stream_of(fact: Fact) -> StreamName:
    """The stream that a fact goes to."""
    return _BY_EVENT[type(fact.data)].stream(fact.data, fact.meta)


class SubjectIsTheBank(Refused):
    """The subject kehu:bank is kept for what the bank does itself. Publish the event with the id of the customer."""


def handle(state: object | None, fact: Fact) -> tuple[object, tuple[Event, ...]]:
    """Decide on a fact: the state afterwards and the new events. Raises NotYet or Refused."""
    aggregate = aggregate_of(fact.data)
    if fact.meta.customer_id == BANK and aggregate.state is not action.Action:
        raise SubjectIsTheBank(BANK)
    events = aggregate.decide(state, fact)
    for event in events:
        state = aggregate.evolve(state, event, fact.meta)
    assert state is not None
    return state, events


def fold(events: Iterable[Recorded], state: object | None = None) -> object | None:
    """The state after the recorded events of one stream."""
    for recorded in events:
        state = aggregate_of(recorded.event).evolve(state, recorded.event, recorded.meta)
    return state


@cache
def snapshot_kinds() -> Mapping[str, str]:
    """Kind of aggregate -> the kind of its snapshots: its name, and a digest of what its state is made of.

    A state that has changed since is not read any more; the stream is folded from its events instead.
    """
    return {
        kind: f"{kind}.{blake2b(repr(msgspec.json.schema(aggregate.state)).encode(), digest_size=4).hexdigest()}"
        for kind, aggregate in _BY_KIND.items()
    }


def dump_state(state: object) -> tuple[str, bytes]:
    """The kind of a state and the state as JSON, for a snapshot."""
    return snapshot_kinds()[_BY_STATE[type(state)].kind], msgspec.json.encode(state)


def load_state(kind: str, dumped: bytes) -> object:
    """The state of a snapshot."""
    state: object = msgspec.json.decode(dumped, type=_BY_KIND[kind.partition(".")[0]].state)
    return state
