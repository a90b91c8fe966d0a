"""Customer: registered once, changed only by real changes, and closed for good."""

from datetime import timedelta

from msgspec.structs import replace

from domain.customer import (
    CustomerClosed,
    CustomerConsentChanged,
    CustomerIsClosed,
    CustomerManagerAssigned,
    CustomerNotRegisteredYet,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerRegisteredDifferently,
)
from tests.support.builders import NOON
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
