"""Whether somebody may be forgotten: what is open, and what law asks to be kept, come first."""

from datetime import UTC, date, datetime

import pytest
from msgspec.structs import replace

from domain.customer import (
    Customer,
    CustomerClosed,
    CustomerErased,
    CustomerIsErased,
    CustomerNotRegisteredYet,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerRestricted,
)
from domain.erasure import RETENTIONS, Case, Erasable, Outcome, Refused, Restricted, Standing, decide
from domain.values import Event
from projections.customers import ALIASES, CUSTOMERS, PERSONAL, PROFILES, RESTRICTIONS
from tests.support.given import given
from tests.support.rows import fold, recorded

NOW = datetime(2026, 6, 1, tzinfo=UTC)
erased = CustomerErased(reason="request dr-1", by="desk", known=("customer_number@cards", "device_ids", "name"))


def on(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T09:00:00+00:00")


def case(received: str, ended: str | None = None, preset: str = "uk_disp_standard", kind: str = "complaint") -> Case:
    due = on("2026-07-27") if ended is None else None
    return Case("p1", kind, preset, on(received), None if ended is None else on(ended), due)


ENDED = Standing(registered=True, ended_at=on("2020-02-29"))


@pytest.mark.parametrize(
    ("standing", "outcome"),
    [
        (Standing(registered=False, ended_at=None), Erasable()),
        (Standing(registered=True, ended_at=on("2021-05-31")), Erasable()),
        (ENDED, Erasable()),
        (
            Standing(registered=True, ended_at=on("2021-06-02")),
            Restricted(date(2026, 6, 2), "records of customer due diligence, 5 years after the relationship ended"),
        ),
        (
            Standing(registered=True, ended_at=on("2024-02-29")),
            Restricted(date(2029, 3, 1), "records of customer due diligence, 5 years after the relationship ended"),
        ),
        (
            Standing(registered=True, ended_at=None),
            Refused("the relationship has not ended: needed to perform the contract"),
        ),
        (
            Standing(False, None, (case("2026-05-01"),)),
            Refused("complaint p1 is open, due on 2026-07-27: needed for a legal claim"),
        ),
        (Standing(False, None, (case("2026-05-01", kind="data_request", preset="gdpr_dsr"),)), Erasable()),
        (
            Standing(False, None, (case("2023-06-02", "2023-07-01"),)),
            Restricted(date(2026, 6, 2), "record of a complaint, 3 years from its receipt (DISP 1)"),
        ),
        (Standing(False, None, (case("2023-05-01", "2025-07-01"),)), Erasable()),
        (
            Standing(False, None, (case("2023-05-01", "2025-07-01", "us_reg_e", "dispute"),)),
            Restricted(date(2027, 7, 1), "evidence of compliance with Regulation E or Z, 2 years"),
        ),
    ],
)
def test_a_request_is_refused_restricted_or_granted(standing: Standing, outcome: Outcome) -> None:
    assert decide([standing], NOW) == outcome


def test_the_longest_of_all_periods_counts_for_all_ids_of_a_person() -> None:
    other = Standing(False, None, (case("2024-01-15", "2024-02-01"),))
    found = decide([ENDED, other], NOW)
    assert isinstance(found, Restricted)
    assert found.until == date(2027, 1, 15)
    assert isinstance(decide([ENDED, other], NOW, [RETENTIONS["relationship"]]), Erasable)


REGISTERED = CustomerRegistered(
    name="Ann", customer_number="7", customer_number_issuer="cards", device_ids=("d1", "d2")
)


def test_who_is_forgotten_says_nothing_any_more() -> None:
    given(REGISTERED).when(erased).then(erased)
    given(REGISTERED, erased).when(erased).then_nothing()
    late: tuple[Event, ...] = (REGISTERED, CustomerProfileChanged(branch="Leeds"), CustomerClosed())
    for fact in late:
        given(REGISTERED, erased).when(fact).then_refuses(CustomerIsErased)


def test_somebody_who_never_registered_may_be_forgotten_too() -> None:
    given().when(erased).then(erased)


restricted = CustomerRestricted(until=date(2030, 1, 2), basis="our policy", reason="request dr-1", by="desk")


def test_who_must_be_kept_is_restricted_until_they_are_forgotten() -> None:
    given(REGISTERED).when(restricted).then(restricted)
    given(REGISTERED, restricted).when(restricted).then_nothing()
    later = replace(restricted, until=date(2031, 1, 2))
    given(REGISTERED, restricted).when(later).then(later)
    given(REGISTERED, restricted).when(CustomerClosed()).then(CustomerClosed())
    given(REGISTERED, restricted).when(erased).then(erased)
    given(REGISTERED, erased).when(restricted).then_refuses(CustomerIsErased)


def test_somebody_who_never_registered_may_be_restricted_and_register_then() -> None:
    given(restricted).when(CustomerClosed()).then_parks(CustomerNotRegisteredYet)
    given(restricted).when(REGISTERED).then(REGISTERED)
    state = given(restricted, REGISTERED).when(CustomerClosed()).state
    assert isinstance(state, Customer)
    assert state.restricted == (date(2030, 1, 2), "our policy")


def test_a_restriction_is_a_row_until_they_are_forgotten() -> None:
    [row] = fold(CUSTOMERS, recorded(REGISTERED, restricted)).whole(RESTRICTIONS)
    assert (row["until"], row["basis"], row["reason"]) == (date(2030, 1, 2), "our policy", "request dr-1")
    assert fold(CUSTOMERS, recorded(REGISTERED, restricted, erased)).whole(RESTRICTIONS) == []


def test_what_is_left_of_a_state_names_nobody() -> None:
    state = given(REGISTERED, CustomerProfileChanged(email="a@x.example"), erased).when(CustomerClosed()).state
    assert isinstance(state, Customer)
    assert (state.profile, state.registration, state.erased) == ({}, "", True)


def test_the_read_model_keeps_nothing_of_who_is_forgotten() -> None:
    rows = fold(CUSTOMERS, recorded(REGISTERED, CustomerProfileChanged(name="Anne", device_ids=("d2",)), erased))
    for table in (PROFILES, PERSONAL, ALIASES):
        assert rows.whole(table) == [], table.name
