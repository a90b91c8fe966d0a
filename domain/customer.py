"""Customer: who they are, what they allow, who looks after them. Stream `customer-{customer_id}`."""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta as Says
from msgspec import field
from msgspec.structs import replace

from domain.errors import NotYet, Refused
from domain.registry import register
from domain.values import Country, Dimensions, Event, Fact, Id, Label, Meta, Moment, StreamName, Value, fingerprint

Products = Annotated[tuple[Label, ...], Says(max_length=50)]


def stream_name(customer_id: str) -> StreamName:
    """The stream of one customer."""
    return StreamName(f"customer-{customer_id}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class CustomerRegistered(Dimensions):
    """A person or organisation became a customer."""

    kind: Literal["person", "organisation"] = "person"
    name: Label | None = None
    email: Label | None = None
    phone: Label | None = None
    country: Country | None = None
    customer_since: Annotated[date | None, Says(description="start of the relationship, for tenure")] = None
    products: Products = ()
    manager_id: Id | None = None


class CustomerProfileChanged(Dimensions):
    """Something about the customer changed; fields that are absent stay as they are."""

    name: Label | None = None
    email: Label | None = None
    phone: Label | None = None
    country: Country | None = None
    products: Products | None = None


class CustomerConsentChanged(Event):
    """The customer granted, denied or revoked consent for one purpose on one channel."""

    purpose: Label
    channel: Label
    status: Literal["granted", "denied", "revoked"]
    expires_at: Moment | None = None


class CustomerManagerAssigned(Event):
    """A relationship manager took over."""

    manager_id: Id
    reason: Label | None = None


class CustomerClosed(Event):
    """The relationship ended: all products closed."""

    reason: Label | None = None


# --- state ---

PROFILE = ("name", "email", "phone", "country", "products", "branch", "product", "segment", "project_id")


class Customer(Value):
    """What is known of a customer: profile fields, consents, manager, and whether the relationship has ended.

    `registration` is the fingerprint of the registration, to know it again when it is sent twice.
    """

    customer_id: str
    kind: str
    profile: dict[str, str | tuple[str, ...] | None]
    registration: str
    manager_id: str | None = None
    consents: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)
    closed: bool = False


def evolve(state: Customer | None, event: Event, meta: Meta) -> Customer:
    """The state after an event; never fails on what `decide` returned."""
    if isinstance(event, CustomerRegistered):
        profile = {name: getattr(event, name) for name in PROFILE}
        return Customer(meta.customer_id, event.kind, profile, fingerprint(event), event.manager_id)
    assert state is not None
    match event:
        case CustomerProfileChanged():
            changed = {name: value for name in PROFILE if (value := getattr(event, name)) is not None}
            return replace(state, profile={**state.profile, **changed})
        case CustomerConsentChanged():
            consent = (event.status, event.expires_at)
            return replace(state, consents={**state.consents, _consent(event): consent})
        case CustomerManagerAssigned():
            return replace(state, manager_id=event.manager_id)
        case _:
            return replace(state, closed=True)


def _consent(event: CustomerConsentChanged) -> str:
    return f"{event.purpose} on {event.channel}"


# --- refusals ---


class CustomerNotRegisteredYet(NotYet):
    """The customer has not been registered yet. It is tried again when the registration arrives."""


class CustomerRegisteredDifferently(Refused):
    """This customer is registered with other details. Publish a profile change instead."""


class CustomerIsClosed(Refused):
    """The relationship with this customer has ended. Register the returning customer under a new id."""


# --- decisions ---


def decide(state: Customer | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this customer; empty when it says nothing new. Raises NotYet or Refused."""
    data = fact.data
    if isinstance(data, CustomerRegistered):
        if state is None:
            return (data,)
        if state.closed:
            raise CustomerIsClosed(state.customer_id)
        if state.registration == fingerprint(data):
            return ()
        raise CustomerRegisteredDifferently(state.customer_id)
    if state is None:
        raise CustomerNotRegisteredYet(fact.meta.customer_id)
    match data:
        case CustomerClosed():
            return () if state.closed else (data,)
        case CustomerConsentChanged():
            # Also after closing: consent may be revoked at any time.
            return () if state.consents.get(_consent(data)) == (data.status, data.expires_at) else (data,)
        case _ if state.closed:
            raise CustomerIsClosed(state.customer_id)
        case CustomerManagerAssigned():
            return () if state.manager_id == data.manager_id else (data,)
        case _:
            return () if evolve(state, data, fact.meta) == state else (data,)


register("customer.registered", CustomerRegistered)
register("customer.profile-changed", CustomerProfileChanged)
register("customer.consent-changed", CustomerConsentChanged)
register("customer.manager-assigned", CustomerManagerAssigned)
register("customer.closed", CustomerClosed)
