"""First contacts are counted by two read models: under one rule, and differently where their pages say so."""

from datetime import datetime, timedelta

import pytest

from domain.contact import ContactEnded, ContactQueued, ContactStarted
from projections.measures.first_contact import FIRST_CONTACT
from projections.outcomes import DAILY, OUTCOMES
from projections.service_queues import FLOW, SERVICE_QUEUES
from tests.contract.test_rules import SUBJECTS, versions_of
from tests.support.builders import NOON
from tests.support.rows import Dated, fold, recorded

DAYS, SECOND = timedelta(days=FIRST_CONTACT.latest.days), timedelta(seconds=1)


def contact(number: int, at: datetime, *, resolved: bool = True, about: str = "fee") -> list[Dated]:
    """A contact about one product and reason that was answered and ended at once."""
    name = f"k{number}"
    queued = ContactQueued(contact_id=name, queue="cards", channel="phone", product=about, reason=about)
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


def test_a_contact_that_comes_back_and_solves_it_counts_for_the_queues_only() -> None:
    assert counted(contact(1, NOON, resolved=False), contact(2, NOON + SECOND)) == (1, 0)


def test_a_contact_told_late_takes_back_what_the_outcomes_counted_only() -> None:
    assert counted(contact(1, NOON), contact(2, NOON - SECOND, resolved=False)) == (1, 0)
