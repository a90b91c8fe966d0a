"""What a fact means for a customer."""

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
    CustomerUnmerged,
)
from domain.customer.identity import STRONG, conflicting, strong_ids
from domain.customer.refusals import (
    CustomerIsClosed,
    CustomerIsErased,
    CustomerIsMergedElsewhere,
    CustomerIsTheSurvivor,
    CustomerNotMergedYet,
    CustomerNotRegisteredYet,
    CustomerRegisteredDifferently,
    StrongIdsConflict,
)
from domain.customer.state import Customer, consent_name, said
from domain.values import Event, Fact, fingerprint


def decide(state: Customer | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this customer; empty when it says nothing new. Raises NotYet or Refused."""
    data = fact.data
    if isinstance(data, CustomerErased):
        return () if state is not None and state.erased else (data,)
    if state is not None and state.erased:
        raise CustomerIsErased(state.customer_id)
    if isinstance(data, CustomerRestricted):
        return () if state is not None and state.restricted == (data.until, data.basis) else (data,)
    if isinstance(data, CustomerRegistered):
        if state is None or not state.registration:
            return (data,)
        if state.closed:
            raise CustomerIsClosed(state.customer_id)
        if state.registration == fingerprint(data):
            return ()
        raise CustomerRegisteredDifferently(state.customer_id)
    if state is None or not state.registration:
        raise CustomerNotRegisteredYet(fact.meta.customer_id)
    match data:
        case CustomerClosed():
            return () if state.closed else (data,)
        case CustomerConsentChanged():
            # Also after closing: consent may be revoked at any time.
            known = state.consents.get(consent_name(data)) == (data.status, data.expires_at)
            return () if known or _came_late_before(state, fact) else (data,)
        case CustomerMerged():
            return _merge(state, data)
        case CustomerUnmerged():
            return _unmerge(state, data)
        case _ if state.closed:
            raise CustomerIsClosed(state.customer_id)
        case CustomerProfileChanged() | CustomerManagerAssigned():
            known = all(state.profile.get(name, ()) == value for name, value in said(data).items())
            return () if known or _came_late_before(state, fact) else (data,)
        case _:
            raise AssertionError(f"no decision on {type(data).__name__}")


def _came_late_before(state: Customer, fact: Fact) -> bool:
    """Whether the fact is the last one that came late: it was kept, and changed nothing by which it is known again."""
    return state.late is not None and state.late == fingerprint(fact.data, fact.meta.occurred_at)


def _merge(state: Customer, data: CustomerMerged) -> tuple[Event, ...]:
    # Also after closing: duplicates are often closed before anybody sees that they are some.
    if data.into == state.customer_id:
        raise CustomerIsTheSurvivor(data.into)
    if state.merged_into is not None:
        if state.merged_into == data.into:
            return ()
        raise CustomerIsMergedElsewhere(state.merged_into)
    if names := conflicting(state.strong_ids, strong_ids(data)):
        raise StrongIdsConflict(", ".join(names))
    # Compared, they are of no more use; and those of the survivor must not be kept under the key of another customer.
    return (replace(data, **dict.fromkeys((*STRONG, "customer_number_issuer"))),)


def _unmerge(state: Customer, data: CustomerUnmerged) -> tuple[Event, ...]:
    if state.merged_into == data.into:
        return (data,)
    if state.merged_into is None and state.unmerged_from == data.into:
        return ()
    raise CustomerNotMergedYet(data.into)
