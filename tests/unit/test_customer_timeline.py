"""Customer timeline: a row for everything that happened, in words without names or free text."""

import pytest

from domain import registry
from domain.account import TransactionPosted
from domain.complaint import ComplaintEscalated, ComplaintOpened, ComplaintResolved
from domain.contact import ContactEnded, ContactQueued
from domain.customer import CustomerProfileChanged, CustomerRegistered
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event, Money
from projections.customer_timeline import CUSTOMER_TIMELINE, TIMELINE, money
from tests.support.builders import NOON
from tests.support.rows import fold, recorded

SECRET = "Ann Lee"


def summary(event: Event) -> str:
    [row] = fold(CUSTOMER_TIMELINE, recorded(event)).whole(TIMELINE)
    text = row["summary"]
    assert isinstance(text, str)
    return text


def test_every_event_about_a_customer_has_a_row_and_derived_ones_have_none() -> None:
    """An action is the bank's own."""
    published = {r.name for r in registry.all_registrations() if r.published}
    assert CUSTOMER_TIMELINE.handles == {name for name in published if not name.startswith("action.")}


def test_a_row_says_what_happened_when_and_where_it_came_from() -> None:
    [row] = fold(CUSTOMER_TIMELINE, recorded(ContactQueued(contact_id="k1", queue="cards", channel="phone"))).whole(
        TIMELINE
    )
    assert row == {
        "customer_id": "c1",
        "log_position": 1,
        "occurred_at": NOON,
        "recorded_at": NOON,
        "type": "contact.queued",
        "stream": "contact-k1",
        "summary": "Waits in cards (phone)",
        "source": "/test",
        "event_id": "e1",
        "project_id": None,
        "channel": "phone",
    }


def test_rows_keep_the_order_of_the_log_and_belong_to_their_customer() -> None:
    queued = ContactQueued(contact_id="k1", queue="cards", channel="phone", project_id="p1")
    events = recorded(queued, ContactEnded(contact_id="k1", resolved=True)) + recorded(queued, customer="c2", after=2)
    rows = fold(CUSTOMER_TIMELINE, events, splits=[1]).whole(TIMELINE)
    assert [(r["customer_id"], r["log_position"], r["project_id"]) for r in rows] == [
        ("c1", 1, "p1"),
        ("c1", 2, None),
        ("c2", 3, "p1"),
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (CustomerRegistered(name=SECRET, email=SECRET), "Became a customer (person)"),
        (CustomerProfileChanged(name=SECRET, phone=SECRET), "Profile changed: name, phone"),
        (
            ComplaintOpened(complaint_id="q1", channel="app", issue="fees", description=SECRET),
            "Complaint q1 by app: fees",
        ),
        (ComplaintOpened(complaint_id="q1", channel="app", case_type="data_request"), "Data request q1 by app"),
        (
            ComplaintEscalated(complaint_id="q1", reason=SECRET, to_queue="head-office"),
            "Case q1 escalated to head-office",
        ),
        (
            ComplaintResolved(
                complaint_id="q1",
                outcome="partly_upheld",
                reasons=SECRET,
                redress=Money(minor=123450, currency="EUR"),
            ),
            "Final response to case q1: partly upheld, redress 1,234.50 EUR",
        ),
        (SurveyInvited(invitation_id="i1", metric="nps", scale=10, channel="app"), "Asked for NPS by app"),
        (
            SurveyAnswered(invitation_id="i1", score=3, comment=SECRET, partial=True),
            "Answered survey i1 with 3 (unfinished)",
        ),
        (
            TransactionPosted(
                account_id="a1",
                transaction_id="t1",
                booked_on=NOON.date(),
                amount=Money(minor=-50, currency="EUR"),
                kind="standing_order",
                text=SECRET,
            ),
            "Standing order -0.50 EUR on a1",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_summary_uses_codes_and_never_names_or_free_text(event: Event, expected: str) -> None:
    assert summary(event) == expected


@pytest.mark.parametrize(
    ("minor", "currency", "expected"),
    [(5, "EUR", "0.05 EUR"), (-1234567, "JPY", "-1,234,567 JPY"), (1500, "KWD", "1.500 KWD"), (0, "CNY", "0.00 CNY")],
)
def test_money_is_shown_in_major_units(minor: int, currency: str, expected: str) -> None:
    assert money(Money(minor=minor, currency=currency)) == expected
