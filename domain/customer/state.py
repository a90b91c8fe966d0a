"""What is known of a customer. Of two facts about one thing the one that happened later holds, whichever came first."""

from datetime import date, datetime
from typing import Any

from msgspec import field
from msgspec.structs import replace

from domain.customer.events import (
    CustomerClosed,
    CustomerConsentChanged,
    CustomerErased,
    CustomerManagerAssigned,
    CustomerMerged,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerRestricted,
)
from domain.customer.identity import WEAK, is_strong, strong_ids
from domain.values import Event, Meta, Value, fingerprint

PROFILE = (
    *("name", "email", "phone", "country", "products", "device_ids", "manager_id"),
    *("branch", "product", "segment", "project_id"),
)
Said = dict[str, str | tuple[str, ...]]


class Customer(Value):
    """What is known of a customer: profile, consents, whether the relationship has ended, and into whom it is merged.

    `registration` is the fingerprint of the registration, to know it again when it is sent twice; it is empty where
    nobody registered, and only a request to be forgotten is known. `late` is that of the last fact that came late.
    `set_at` says when what was not said by the registration happened; by it a fact that comes late changes nothing
    newer.
    """

    customer_id: str
    kind: str
    profile: Said
    registration: str
    registered_at: datetime
    set_at: dict[str, datetime] = field(default_factory=dict)
    consents: dict[str, tuple[str, datetime | None]] = field(default_factory=dict)
    late: str | None = None
    closed: bool = False
    merged_into: str | None = None
    unmerged_from: str | None = None
    erased: bool = False
    restricted: tuple[date, str] | None = None
    """Until when they must be kept although they asked to be forgotten, and on which basis."""

    @property
    def strong_ids(self) -> dict[str, str]:
        """The strong ids that are known, by name."""
        return {name: str(value) for name, value in self.profile.items() if is_strong(name)}


def said(event: CustomerRegistered | CustomerProfileChanged | CustomerManagerAssigned) -> Said:
    """The fields that an event says, by name. What a registration leaves empty it does not say."""
    if isinstance(event, CustomerManagerAssigned):
        return {"manager_id": event.manager_id}
    told: dict[str, Any] = {name: getattr(event, name, None) for name in PROFILE} | strong_ids(event)
    nothing = (None, ()) if isinstance(event, CustomerRegistered) else (None,)
    return {name: value for name, value in told.items() if value not in nothing}


def consent_name(event: CustomerConsentChanged) -> str:
    """Under which name a consent is known."""
    return f"{event.purpose} on {event.channel}"


def evolve(state: Customer | None, event: Event, meta: Meta) -> Customer:
    """The state after an event; never fails on what `decide` returned."""
    at = meta.occurred_at
    if isinstance(event, CustomerRegistered):
        kept = None if state is None else state.restricted
        return Customer(meta.customer_id, event.kind, said(event), fingerprint(event), at, restricted=kept)
    if isinstance(event, CustomerErased | CustomerRestricted):
        known = state or Customer(meta.customer_id, "person", {}, "", at)
        if isinstance(event, CustomerErased):
            return erased(known)
        return replace(known, restricted=(event.until, event.basis))
    assert state is not None
    match event:
        case CustomerProfileChanged() | CustomerManagerAssigned():
            told = said(event)
            newer = {name: value for name, value in told.items() if _holds(state, name, at)}
            set_at = {**state.set_at, **dict.fromkeys(newer, at)}
            late = fingerprint(event, at) if len(newer) < len(told) else state.late
            return replace(state, profile={**state.profile, **newer}, set_at=set_at, late=late)
        case CustomerConsentChanged():
            name = consent_name(event)
            if name in state.consents and at < state.set_at[name]:
                return replace(state, late=fingerprint(event, at))
            consents = {**state.consents, name: (event.status, event.expires_at)}
            return replace(state, consents=consents, set_at={**state.set_at, name: at})
        case CustomerClosed():
            return replace(state, closed=True)
        case CustomerMerged():
            return replace(state, merged_into=event.into)
        case _:
            return replace(state, merged_into=None, unmerged_from=state.merged_into)


def personal_names(state: Customer) -> tuple[str, ...]:
    """Under which names something personal is known."""
    return tuple(sorted(name for name in state.profile if name in ("name", *WEAK) or is_strong(name)))


def erased(state: Customer) -> Customer:
    """What is left of a customer who is forgotten: neither what is personal, nor by what it would be known again."""
    personal = personal_names(state)
    profile = {name: value for name, value in state.profile.items() if name not in personal}
    return replace(state, profile=profile, registration="", late=None, erased=True, restricted=None)


def _holds(state: Customer, name: str, at: datetime) -> bool:
    """Whether what was said of a field at this time is not older than what is known of it."""
    if name not in state.profile:
        return True
    return at >= state.set_at.get(name, state.registered_at)
