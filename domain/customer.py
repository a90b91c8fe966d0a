"""Customer: who they are, what they allow, who looks after them. Stream `customer-{customer_id}`."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from domain.registry import register
from domain.values import Dimensions, Event, Id, Label, StreamName

Products = Annotated[tuple[Label, ...], Field(max_length=50)]


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
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    customer_since: date | None = Field(default=None, description="start of the relationship, for tenure")
    products: Products = ()
    manager_id: Id | None = None


class CustomerProfileChanged(Dimensions):
    """Something about the customer changed; fields that are absent stay as they are."""

    name: Label | None = None
    email: Label | None = None
    phone: Label | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    products: Products | None = None


class CustomerConsentChanged(Event):
    """The customer granted, denied or revoked consent for one purpose on one channel."""

    purpose: Label
    channel: Label
    status: Literal["granted", "denied", "revoked"]
    expires_at: datetime | None = None


class CustomerManagerAssigned(Event):
    """A relationship manager took over."""

    manager_id: Id
    reason: Label | None = None


class CustomerClosed(Event):
    """The relationship ended: all products closed."""

    reason: Label | None = None


register("customer.registered", CustomerRegistered)
register("customer.profile-changed", CustomerProfileChanged)
register("customer.consent-changed", CustomerConsentChanged)
register("customer.manager-assigned", CustomerManagerAssigned)
register("customer.closed", CustomerClosed)
