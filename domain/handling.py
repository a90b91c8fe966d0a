"""Which aggregate decides on which fact: the one table, and the few ways to use it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from domain import account, complaint, contact, customer, survey
from domain.values import Event, Fact, Meta, Recorded, StreamName


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate: its stream for a fact, its decision, its fold, and how its state becomes JSON."""

    kind: str
    stream: Callable[[Fact], StreamName]
    decide: Callable[[Any, Fact], tuple[Event, ...]]
    evolve: Callable[[Any, Event, Meta], object]
    state: TypeAdapter[Any]


def _data(fact: Fact) -> Any:
    return fact.data


AGGREGATES = (
    Aggregate(
        "customer",
        lambda fact: customer.stream_name(fact.meta.customer_id),
        customer.decide,
        customer.evolve,
        TypeAdapter(customer.Customer),
    ),
    Aggregate(
        "contact",
        lambda fact: contact.stream_name(_data(fact).contact_id),
        contact.decide,
        contact.evolve,
        TypeAdapter(contact.Contact),
    ),
    Aggregate(
        "complaint",
        lambda fact: complaint.stream_name(_data(fact).complaint_id),
        complaint.decide,
        complaint.evolve,
        TypeAdapter(complaint.Complaint),
    ),
    Aggregate(
        "survey",
        lambda fact: survey.stream_name(_data(fact).invitation_id),
        survey.decide,
        survey.evolve,
        TypeAdapter(survey.Survey),
    ),
    Aggregate(
        "account",
        lambda fact: account.stream_name(_data(fact).account_id, _data(fact).booked_on),
        account.decide,
        account.evolve,
        TypeAdapter(account.AccountMonth),
    ),
)

_BY_MODULE = {f"domain.{aggregate.kind}": aggregate for aggregate in AGGREGATES}
_BY_KIND = {aggregate.kind: aggregate for aggregate in AGGREGATES}
_KINDS: dict[type, str] = {
    customer.Customer: "customer",
    contact.Contact: "contact",
    complaint.Complaint: "complaint",
    survey.Survey: "survey",
    account.AccountMonth: "account",
}


def aggregate_of(event: Event) -> Aggregate:
    """The aggregate in whose module the event is declared."""
    return _BY_MODULE[type(event).__module__]


def stream_of(fact: Fact) -> StreamName:
    """The stream that a fact goes to."""
    return aggregate_of(fact.data).stream(fact)


def handle(state: object | None, fact: Fact) -> tuple[object, tuple[Event, ...]]:
    """Decide on a fact: the state afterwards and the new events. Raises NotYet or Refused."""
    aggregate = aggregate_of(fact.data)
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


def dump_state(state: object) -> tuple[str, bytes]:
    """The kind of a state and the state as JSON, for a snapshot."""
    kind = _KINDS[type(state)]
    return kind, _BY_KIND[kind].state.dump_json(state)


def load_state(kind: str, dumped: bytes) -> object:
    """The state of a snapshot."""
    state: object = _BY_KIND[kind].state.validate_json(dumped)
    return state
