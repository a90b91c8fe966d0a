"""What happens to a customer. Names and fields are what is stored: they change only with a version and an upcaster."""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta as Says

from domain.personal import MARK, PersonalLabel
from domain.registry import register
from domain.values import Country, Dimensions, Event, Id, Label, Moment, StreamName

Products = Annotated[tuple[Label, ...], Says(max_length=50)]
Devices = Annotated[tuple[Label, ...], Says(max_length=20, extra=MARK)]
Hash = Annotated[str, Says(pattern=r"^[0-9a-f]{32,128}\Z")]
"""A keyed hash in hexadecimal. A number as a state issues it is shorter, so that it cannot be sent by mistake."""
Number = Annotated[Id | None, Says(description="the number under which its issuer keeps this customer", extra=MARK)]
Issuer = Annotated[Id | None, Says(description="who issued `customer_number`; the bank itself if absent")]
NationalId = Annotated[Hash | None, Says(description="keyed hash of the national id, never the id itself", extra=MARK)]
TaxId = Annotated[Hash | None, Says(description="keyed hash of the tax id, never the id itself", extra=MARK)]


def stream_name(customer_id: str) -> StreamName:
    """The stream of one customer."""
    return StreamName(f"customer-{customer_id}")


class CustomerRegistered(Dimensions):
    """A person or organisation became a customer."""

    kind: Literal["person", "organisation"] = "person"
    name: PersonalLabel | None = None
    email: PersonalLabel | None = None
    phone: PersonalLabel | None = None
    country: Country | None = None
    customer_since: Annotated[date | None, Says(description="start of the relationship, for tenure")] = None
    products: Products = ()
    manager_id: Id | None = None
    customer_number: Number = None
    customer_number_issuer: Issuer = None
    national_id_hash: NationalId = None
    tax_id_hash: TaxId = None
    device_ids: Devices = ()


class CustomerProfileChanged(Dimensions):
    """Something about the customer changed; fields that are absent stay as they are."""

    name: PersonalLabel | None = None
    email: PersonalLabel | None = None
    phone: PersonalLabel | None = None
    country: Country | None = None
    products: Products | None = None
    customer_number: Number = None
    customer_number_issuer: Issuer = None
    national_id_hash: NationalId = None
    tax_id_hash: TaxId = None
    device_ids: Devices | None = None


class CustomerConsentChanged(Event):
    """The customer granted, denied or revoked consent for one purpose on one channel."""

    purpose: Label
    channel: Label
    status: Literal["granted", "denied", "revoked"]
    expires_at: Moment | None = None


class CustomerManagerAssigned(Event):
    """A relationship manager took over."""

    manager_id: Id
    reason: PersonalLabel | None = None


class CustomerClosed(Event):
    """The relationship ended: all products closed."""

    reason: PersonalLabel | None = None


class CustomerMerged(Event):
    """This customer is the same as another, the survivor, under whom both are shown from now on.

    With the strong ids of the survivor, a merge of two who are known not to be the same is refused.
    """

    into: Annotated[Id, Says(description="customer id of the survivor")]
    reason: PersonalLabel
    by: Annotated[Label, Says(description="who decided it")]
    customer_number: Number = None
    customer_number_issuer: Issuer = None
    national_id_hash: NationalId = None
    tax_id_hash: TaxId = None


class CustomerUnmerged(Event):
    """A merge was wrong: this customer is shown alone again, as if it had never been merged."""

    into: Annotated[Id, Says(description="the survivor of the merge that is undone")]
    reason: PersonalLabel
    by: Annotated[Label, Says(description="who decided it")]


class CustomerRestricted(Event):
    """Derived: the customer asked to be forgotten, and must be kept until a date for the basis that is named.

    Until then their data is not to be worked with but for that. `reason` is the id of their request, say, and nothing
    personal.
    """

    until: date
    basis: Label
    reason: Label
    by: Annotated[Label, Says(description="who decided it")]


class CustomerErased(Event):
    """Derived: the customer is forgotten. The key to their personal data is destroyed; what is counted of them stays.

    `known` names what was known of them, and `reason` is why they are forgotten: the id of their request, say, and
    nothing personal.
    """

    reason: Label
    by: Annotated[Label, Says(description="who decided it")]
    known: Annotated[tuple[Label, ...], Says(max_length=100)] = ()


register("customer.registered", CustomerRegistered)
register("customer.profile-changed", CustomerProfileChanged)
register("customer.consent-changed", CustomerConsentChanged)
register("customer.manager-assigned", CustomerManagerAssigned)
register("customer.closed", CustomerClosed)
register("customer.merged", CustomerMerged)
register("customer.unmerged", CustomerUnmerged)
register("customer.restricted", CustomerRestricted, published=False)
register("customer.erased", CustomerErased, published=False)
