"""Customer: registered once, changed only by real changes, and closed for good."""

from datetime import timedelta

from msgspec.structs import replace

from domain import handling
from domain.customer import (
    Customer,
    CustomerClosed,
    CustomerConsentChanged,
    CustomerIsClosed,
    CustomerIsMergedElsewhere,
    CustomerIsTheSurvivor,
    CustomerManagerAssigned,
    CustomerMerged,
    CustomerNotMergedYet,
    CustomerNotRegisteredYet,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerRegisteredDifferently,
    CustomerUnmerged,
    StrongIdsConflict,
)
from tests.support.builders import NOON, fact
from tests.support.given import given

registered = CustomerRegistered(name="A company", segment="smb", products=("current account",), manager_id="m0")
moved = CustomerProfileChanged(segment="corporate")
granted = CustomerConsentChanged(purpose="marketing", channel="email", status="granted")
revoked = CustomerConsentChanged(purpose="marketing", channel="email", status="revoked")
assigned = CustomerManagerAssigned(manager_id="m1")
left = CustomerClosed(reason="moved abroad")


def test_a_customer_is_registered_once() -> None:
    given().when(registered).then(registered)
    given(registered).when(registered, at=NOON + timedelta(days=1)).then_nothing()
    given(registered, moved).when(registered).then_nothing()


def test_a_second_registration_with_other_details_is_refused() -> None:
    given(registered).when(CustomerRegistered(name="Another")).then_refuses(CustomerRegisteredDifferently)


def test_only_real_changes_of_the_profile_are_recorded() -> None:
    given(registered).when(moved).then(moved)
    given(registered, moved).when(moved).then_nothing()
    given(registered).when(CustomerProfileChanged(name="A company", segment="smb")).then_nothing()
    fewer = CustomerProfileChanged(products=())
    given(registered).when(fewer).then(fewer)
    given(registered, fewer).when(fewer).then_nothing()


def test_consent_is_known_for_each_purpose_and_channel() -> None:
    given(registered).when(granted).then(granted)
    given(registered, granted).when(granted).then_nothing()
    by_phone = replace(granted, channel="phone")
    given(registered, granted).when(by_phone).then(by_phone)
    until = replace(granted, expires_at=NOON + timedelta(days=365))
    given(registered, granted).when(until).then(until)
    given(registered, granted, revoked).when(granted).then(granted)


def test_a_manager_takes_over_once() -> None:
    given(registered).when(assigned).then(assigned)
    given(registered, assigned).when(assigned).then_nothing()
    given(registered).when(CustomerManagerAssigned(manager_id="m0")).then_nothing()


def test_a_relationship_ends_once() -> None:
    given(registered).when(left).then(left)
    given(registered, left).when(CustomerClosed()).then_nothing()


def test_after_the_end_only_consent_may_change() -> None:
    given(registered, left).when(revoked).then(revoked)
    given(registered, left).when(moved).then_refuses(CustomerIsClosed)
    given(registered, left).when(assigned).then_refuses(CustomerIsClosed)
    given(registered, left).when(registered).then_refuses(CustomerIsClosed)


def test_every_fact_waits_for_the_registration() -> None:
    for early in (moved, granted, assigned, left):
        given().when(early).then_parks(CustomerNotRegisteredYet)


# --- late facts ---


def test_a_fact_that_comes_late_is_kept_and_changes_nothing_newer() -> None:
    newer = fact(CustomerProfileChanged(segment="corporate"), at=NOON + timedelta(days=2))
    late = fact(CustomerProfileChanged(segment="mass", branch="Harbour"), at=NOON + timedelta(days=1))
    state, _ = handling.handle(None, fact(registered))
    for one in (newer, late):
        state, events = handling.handle(state, one)
        assert events == (one.data,)
    assert isinstance(state, Customer)
    assert (state.profile["segment"], state.profile["branch"]) == ("corporate", "Harbour")
    # So what is said now is compared with what holds, not with what came last.
    given(registered, newer, late).when(CustomerProfileChanged(segment="corporate")).then_nothing()
    given(registered, newer, late).when(late.data, at=late.meta.occurred_at).then_nothing()
    again = CustomerProfileChanged(segment="mass")
    given(registered, newer, late).when(again).then(again)


def test_a_late_consent_does_not_bring_back_what_was_revoked_since() -> None:
    since = fact(revoked, at=NOON + timedelta(days=2))
    late = fact(granted, at=NOON + timedelta(days=1))
    given(registered, since).when(late.data, at=late.meta.occurred_at).then(granted)
    given(registered, since, late).when(revoked).then_nothing()


def test_a_late_assignment_does_not_replace_the_manager_of_today() -> None:
    today = fact(assigned, at=NOON + timedelta(days=2))
    late = fact(CustomerManagerAssigned(manager_id="m9"), at=NOON + timedelta(days=1))
    given(registered, today).when(late.data, at=late.meta.occurred_at).then(late.data)
    given(registered, today, late).when(assigned).then_nothing()


# --- merging ---

HASH, OTHER_HASH = "a1" * 16, "b2" * 16
merged = CustomerMerged(into="c2", reason="same person", by="desk 3")
unmerged = CustomerUnmerged(into="c2", reason="twins", by="desk 3")


def test_a_customer_is_merged_once_and_unmerged_once() -> None:
    given(registered).when(merged).then(merged)
    given(registered, merged).when(merged).then_nothing()
    given(registered, merged).when(unmerged).then(unmerged)
    given(registered, merged, unmerged).when(unmerged).then_nothing()
    given(registered, merged, unmerged).when(merged).then(merged)
    given().when(merged).then_parks(CustomerNotRegisteredYet)


def test_a_customer_has_one_survivor_and_is_not_its_own() -> None:
    given(registered).when(replace(merged, into="c1")).then_refuses(CustomerIsTheSurvivor)
    given(registered, merged).when(replace(merged, into="c3")).then_refuses(CustomerIsMergedElsewhere)


def test_an_unmerge_waits_for_the_merge_that_it_undoes() -> None:
    given(registered).when(unmerged).then_parks(CustomerNotMergedYet)
    given(registered, replace(merged, into="c3")).when(unmerged).then_parks(CustomerNotMergedYet)


def test_a_customer_that_was_closed_may_still_be_merged() -> None:
    given(registered, left).when(merged).then(merged)
    given(registered, left, merged).when(unmerged).then(unmerged)


def test_a_merged_customer_goes_on_taking_facts() -> None:
    given(registered, merged).when(moved).then(moved)


def test_different_strong_ids_refuse_a_merge() -> None:
    known = CustomerRegistered(
        customer_number="1", customer_number_issuer="cards", national_id_hash=HASH, tax_id_hash=HASH
    )
    for conflict in (
        replace(merged, national_id_hash=OTHER_HASH),
        replace(merged, tax_id_hash=OTHER_HASH),
        replace(merged, customer_number="2", customer_number_issuer="cards"),
    ):
        given(known).when(conflict).then_refuses(StrongIdsConflict)
    for same in (
        replace(merged, national_id_hash=HASH, tax_id_hash=HASH),
        replace(merged, customer_number="1", customer_number_issuer="cards"),
        replace(merged, customer_number="2"),  # another issuer, the bank itself
        merged,
    ):
        # What was compared is not kept: it may be the survivor's, and would be under the key of another customer.
        given(known).when(same).then(merged)
    corrected = CustomerProfileChanged(national_id_hash=OTHER_HASH)
    given(known, corrected).when(replace(merged, national_id_hash=HASH)).then_refuses(StrongIdsConflict)
