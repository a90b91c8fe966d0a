"""First contacts are counted by two read models under one rule, each where and when it counts contacts."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contact import ContactEnded, ContactQueued, ContactStarted
from projections.measures.first_contact import FIRST_CONTACT
from projections.outcomes import DAILY, OUTCOMES
from projections.service_queues import FLOW, SERVICE_QUEUES
from tests.contract.test_rules import SUBJECTS, versions_of
from tests.support.builders import NOON
from tests.support.rows import Dated, fold, recorded

DAYS, HOUR, SECOND = timedelta(days=FIRST_CONTACT.latest.days), timedelta(hours=1), timedelta(seconds=1)


def contact(number: int, at: datetime, *, resolved: bool = True, about: str = "fee", reason: str = "") -> list[Dated]:
    """A contact about one product, for that as its reason or another one, that was answered and ended at once."""
    name = f"k{number}"
    queued = ContactQueued(contact_id=name, queue="cards", channel="phone", product=about, reason=reason or about)
    return [
        (queued, at),
        (ContactStarted(contact_id=name), at),
        (ContactEnded(contact_id=name, resolved=resolved), at),
    ]


def counted(*contacts: list[Dated]) -> tuple[int, int]:
    """Solved on first contact by the queues, and by the outcomes."""
    events = recorded(*(event for one in contacts for event in one))
    queues, outcomes = fold(SERVICE_QUEUES, events).whole(FLOW), fold(OUTCOMES, events).whole(DAILY)
    return sum(row["first_contact"] for row in queues), sum(row["first_time"] for row in outcomes)


def test_the_window_stands_in_one_file() -> None:
    named = {
        subject
        for subject in SUBJECTS
        for name, fields in versions_of(subject).items()
        if any("first_contact" in one for one in (name, *fields))
    }
    assert named == {"contacts"}


@pytest.mark.parametrize(
    ("second", "both"),
    [
        (contact(2, NOON + DAYS, resolved=False), 0),
        (contact(2, NOON + DAYS + SECOND, resolved=False), 1),
        (contact(2, NOON + DAYS + SECOND), 2),
        (contact(2, NOON + SECOND, about="card"), 2),
    ],
    ids=["on the last moment", "after it", "after it and solved", "about something else"],
)
def test_both_mean_the_same_window(second: list[Dated], both: int) -> None:
    assert counted(contact(1, NOON), second) == (both, both)


def test_a_contact_that_comes_back_and_solves_it_was_not_the_first() -> None:
    assert counted(contact(1, NOON, resolved=False), contact(2, NOON + SECOND)) == (0, 0)
    assert counted(contact(1, NOON), contact(2, NOON + SECOND)) == (0, 0)


def test_a_contact_told_late_counts_as_if_it_had_come_in_time() -> None:
    assert counted(contact(1, NOON), contact(2, NOON - SECOND, resolved=False)) == (0, 0)


def test_contacts_about_one_product_for_different_reasons_are_two_topics() -> None:
    card = [contact(number, NOON + number * SECOND, about="card", reason=f"r{number}") for number in (1, 2)]
    assert counted(*card) == (2, 2)


@given(st.lists(st.tuples(st.integers(0, 20 * 24), st.sampled_from("ab"), st.booleans()), max_size=8))
def test_both_count_the_contacts_that_stand_alone(drawn: list[tuple[int, str, bool]]) -> None:
    """Told in order: those that ended as resolved, without another one about the same in the days before and after."""
    lives = [(NOON + hours * HOUR, about, done) for hours, about, done in sorted(drawn)]
    contacts = [contact(n, at, resolved=done, about=about) for n, (at, about, done) in enumerate(lives)]
    alone = 0
    for number, (at, about, done) in enumerate(lives):
        others = [other for n, (other, topic, _) in enumerate(lives) if n != number and topic == about]
        alone += done and not any(abs(other - at) <= DAYS for other in others)
    assert counted(*contacts) == (alone, alone)
