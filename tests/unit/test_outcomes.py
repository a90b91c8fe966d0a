"""What is counted of contacts, cases, customers and actions, on which day and under which dimensions."""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from domain.action import ActionClosed, ActionOpened
from domain.complaint import ComplaintOpened, ComplaintReopened, ComplaintResolved, ComplaintWithdrawn
from domain.contact import ContactAbandoned, ContactEnded, ContactQueued, ContactStarted, ContactTransferred
from domain.customer import CustomerClosed, CustomerProfileChanged, CustomerRegistered
from domain.values import BANK, Event, Money
from projections.outcomes import (
    ACTIONS,
    CASES,
    CAUSES,
    CONTACTS,
    DAILY,
    DEADLINES,
    MOVES,
    OUTCOMES,
    REDRESS,
    STOCK,
    TOTALLED,
    TOTALS,
)
from tests.support.builders import NOON
from tests.support.histories import bank_log
from tests.support.rows import MemoryRows, decided, fold, recorded

DAY = timedelta(days=1)
TODAY = NOON.date()
Story = list[Event | tuple[Event, datetime]]


def counted(rows: MemoryRows) -> Counter[str]:
    """The sum of all cells."""
    total: Counter[str] = Counter()
    for row in rows.whole(DAILY):
        total.update({name: row[name] for name in DAILY.columns})
    return total


def on(rows: MemoryRows, day: date) -> Counter[str]:
    """The sum of the cells of one day."""
    total: Counter[str] = Counter()
    for row in rows.whole(DAILY):
        if row["day"] == day:
            total.update({name: row[name] for name in DAILY.columns})
    return total


# --- contacts ---


def visit(number: int, at: datetime, *, resolved: bool = True, reason: str | None = "fee") -> Story:
    """A contact that is answered after a minute and ends four minutes later, with 30 seconds of wrap-up."""
    contact = f"k{number}"
    return [
        (ContactQueued(contact_id=contact, queue="q", channel="phone", reason=reason), at),
        (ContactStarted(contact_id=contact), at + timedelta(minutes=1)),
        (ContactEnded(contact_id=contact, resolved=resolved, wrap_up_seconds=30), at + timedelta(minutes=5)),
    ]


def after(*stories: Story, splits: tuple[int, ...] = ()) -> MemoryRows:
    return fold(OUTCOMES, recorded(*(event for story in stories for event in story)), splits)


def test_a_contact_counts_on_the_day_that_it_was_queued_with_the_work_that_it_took() -> None:
    rows = after(visit(1, NOON))
    (cell,) = rows.whole(DAILY)
    assert (cell["day"], cell["channel"], cell["branch"]) == (TODAY, "phone", "")
    assert {name: value for name in DAILY.columns if (value := cell[name])} == {
        "contacts": 1,
        "handled": 1,
        "first_time": 1,
        "seconds": 270,
        "seconds_squared": 270 * 270,
    }
    assert rows.whole(CONTACTS) == []


@pytest.mark.parametrize(("days", "first_time"), [(6.9, 0), (7.1, 2)])
def test_who_comes_again_within_seven_days_was_not_served_at_once(days: float, first_time: int) -> None:
    assert counted(after(visit(1, NOON), visit(2, NOON + days * DAY)))["first_time"] == first_time


def test_the_week_begins_when_the_contact_ended() -> None:
    long: Story = [*visit(1, NOON)[:2], (ContactEnded(contact_id="k1", resolved=True), NOON + DAY)]
    again: Story = [(ContactQueued(contact_id="k2", queue="q", channel="phone", reason="fee"), NOON + 7.5 * DAY)]
    assert counted(after(long))["first_time"] == 1
    assert counted(after(long, again))["first_time"] == 0


def test_another_topic_or_another_customer_is_no_second_contact() -> None:
    assert counted(after(visit(1, NOON), visit(2, NOON + DAY, reason="card")))["first_time"] == 2
    events = [
        *recorded(*visit(1, NOON), customer="c1"),
        *recorded(*visit(2, NOON + DAY), customer="c2", after=3),
    ]
    assert counted(fold(OUTCOMES, events))["first_time"] == 2


def test_contacts_without_a_reason_are_one_topic() -> None:
    assert counted(after(visit(1, NOON, reason=None), visit(2, NOON + DAY, reason=None)))["first_time"] == 0


def test_what_is_taken_back_is_taken_back_on_the_day_of_the_first_contact() -> None:
    before = after(visit(1, NOON))
    rows = after(visit(1, NOON), visit(2, NOON + 3 * DAY))
    assert on(before, TODAY)["first_time"] == 1
    assert on(rows, TODAY)["first_time"] == 0
    assert on(rows, TODAY + 3 * DAY)["first_time"] == 0
    assert counted(rows)["handled"] == 2


def test_a_third_contact_takes_nothing_back_twice() -> None:
    rows = after(visit(1, NOON), visit(2, NOON + DAY), visit(3, NOON + 2 * DAY), visit(4, NOON + 30 * DAY))
    assert counted(rows)["first_time"] == 1


@pytest.mark.parametrize(("days", "first_time"), [(3, 0), (9, 2)])
def test_a_contact_that_is_told_late_counts_as_if_it_had_come_in_time(days: int, first_time: int) -> None:
    assert counted(after(visit(2, NOON), visit(1, NOON - days * DAY)))["first_time"] == first_time


def test_a_late_contact_does_not_hide_the_last_one() -> None:
    rows = after(visit(2, NOON), visit(1, NOON - 9 * DAY), visit(3, NOON + DAY))
    assert counted(rows)["first_time"] == 1  # the late one; the last two are one matter


def test_a_second_contact_before_the_first_one_ended_settles_neither() -> None:
    first, second = visit(1, NOON), visit(2, NOON + timedelta(minutes=2))
    assert counted(after([first[0], first[1], second[0], first[2], second[1], second[2]]))["first_time"] == 0


def test_what_was_not_resolved_was_not_resolved_at_once() -> None:
    assert counted(after(visit(1, NOON, resolved=False)))["first_time"] == 0


def test_who_hung_up_and_comes_again_was_not_served_at_once() -> None:
    left: Story = [
        (ContactQueued(contact_id="k0", queue="q", channel="phone", reason="fee"), NOON),
        (ContactAbandoned(contact_id="k0"), NOON + timedelta(minutes=2)),
    ]
    rows = after(left, visit(1, NOON + timedelta(hours=1)))
    total = counted(rows)
    assert (total["contacts"], total["handled"], total["first_time"]) == (2, 1, 0)
    assert rows.whole(CONTACTS) == []


def test_work_is_talk_and_wrap_up_without_the_wait_in_the_next_queue() -> None:
    minute = timedelta(minutes=1)
    moved: Story = [
        (ContactQueued(contact_id="k", queue="q", channel="phone"), NOON),
        (ContactStarted(contact_id="k"), NOON + minute),
        (ContactTransferred(contact_id="k", to_queue="cards"), NOON + 3 * minute),
        (ContactStarted(contact_id="k"), NOON + 13 * minute),
        (ContactTransferred(contact_id="k", to_queue="cards", to_agent="a"), NOON + 15 * minute),
        (ContactEnded(contact_id="k", resolved=True, hold_seconds=50, wrap_up_seconds=20), NOON + 16 * minute),
    ]
    assert counted(after(moved))["seconds"] == (2 + 3) * 60 + 20


def test_a_contact_that_nobody_ended_for_long_is_a_day_of_work_at_most() -> None:
    start: Story = visit(1, NOON)[:2]
    end: Story = [(ContactEnded(contact_id="k1", resolved=True), NOON + 9 * DAY)]
    assert counted(after(start, end))["seconds"] == 86_400


# --- dimensions ---


def test_what_an_event_does_not_say_is_as_the_customer_has_it_then() -> None:
    rows = after(
        [CustomerRegistered(branch="Leeds", segment="mass", product="loan")],
        visit(1, NOON),
        [CustomerProfileChanged(branch="York")],
        [ComplaintOpened(complaint_id="p", channel="app", segment="private", product="card")],
    )
    places = [tuple(row[name] for name in TOTALLED) for row in rows.whole(DAILY)]
    assert places == [("app", "York", "card", "private", ""), ("phone", "Leeds", "", "mass", "")]


def test_totals_are_the_sums_of_cells() -> None:
    """Over a bank's history: of each day and dimension, whatever is counted."""
    rows = fold(OUTCOMES, bank_log(3000, seed=5).events)
    expected: dict[Any, Counter[str]] = {}
    for row in rows.whole(DAILY):
        for dimension in ("", *TOTALLED):
            key = dimension, row["day"], row[dimension] if dimension else ""
            expected.setdefault(key, Counter()).update({name: row[name] for name in DAILY.columns})
    found = {(row["dimension"], row["day"], row["value"]): row for row in rows.whole(TOTALS)}
    assert found.keys() == expected.keys()
    for key, total in expected.items():
        assert {name: found[key][name] for name in DAILY.columns} == dict(total)


# --- cases ---

OPENED = ComplaintOpened(
    complaint_id="p", channel="app", product="card", cause="charges_performance", branch="Leeds", regime="us_cfpb"
)
RESOLVED = ComplaintResolved(
    complaint_id="p", outcome="upheld", reasons="A fee was wrong.", onward_rights="Ombudsman.",
    redress=Money(minor=2500, currency="GBP"),
)  # fmt: skip


def case(*facts: Event | tuple[Event, datetime]) -> MemoryRows:
    return fold(OUTCOMES, decided(*facts))


def test_a_complaint_counts_on_the_day_that_it_was_received() -> None:
    rows = case(ComplaintOpened(complaint_id="p", channel="app", received_at=NOON - 2 * DAY))
    assert on(rows, TODAY - 2 * DAY)["complaints"] == 1
    assert rows.whole(CAUSES)[0]["day"] == TODAY - 2 * DAY


def test_cases_count_by_their_type_and_only_complaints_have_a_cause() -> None:
    dispute = ComplaintOpened(complaint_id="d", channel="app", case_type="dispute", regime="us_reg_e")
    request = ComplaintOpened(complaint_id="r", channel="app", case_type="data_request", regime="gdpr_dsr")
    rows = case(dispute, request)
    total = counted(rows)
    assert (total["disputes"], total["data_requests"], total["complaints"]) == (1, 1, 0)
    assert rows.whole(CAUSES) == []
    [cause] = case(OPENED).whole(CAUSES)
    assert (cause["product"], cause["cause"], cause["branch"], cause["complaints"]) == (
        "card", "charges_performance", "Leeds", 1,
    )  # fmt: skip


@pytest.mark.parametrize(("days", "met", "missed"), [(15, 1, 0), (16, 0, 1)])
def test_a_decision_is_in_time_by_the_clock_that_ran_then(days: int, met: int, missed: int) -> None:
    """us_cfpb: 15 calendar days, to the end of the last one."""
    rows = case(OPENED, (RESOLVED, NOON + days * DAY))
    law = [row for row in rows.whole(DEADLINES) if row["clock"] == "statutory"]
    [row] = law
    assert (row["day"], row["regime"], row["met"], row["missed"]) == (TODAY + days * DAY, "us_cfpb", met, missed)
    [service] = [row for row in rows.whole(DEADLINES) if row["clock"] == "service"]
    assert service["regime"] == "service_default"


def test_a_decision_at_the_deadline_is_in_time() -> None:
    [open_case] = case(OPENED).whole(CASES)
    for late, met in ((timedelta(0), 1), (timedelta(seconds=1), 0)):
        rows = case(OPENED, (RESOLVED, open_case["statutory_due"] + late))
        assert sum(row["met"] for row in rows.whole(DEADLINES) if row["clock"] == "statutory") == met


def test_a_missed_summary_resolution_is_judged_by_the_preset_that_follows() -> None:
    opened = ComplaintOpened(complaint_id="p", channel="app", regime="uk_disp_summary")
    rows = case(opened, (RESOLVED, NOON + 20 * DAY))
    [row] = [row for row in rows.whole(DEADLINES) if row["clock"] == "statutory"]
    assert (row["regime"], row["met"], row["missed"]) == ("uk_disp_standard", 1, 0)


def test_a_case_without_a_statutory_clock_has_only_a_service_one() -> None:
    opened = ComplaintOpened(complaint_id="p", channel="app", regime="service_default")
    assert {row["clock"] for row in case(opened, (RESOLVED, NOON + DAY)).whole(DEADLINES)} == {"service"}


def test_a_decision_counts_on_its_day_with_its_verdict_and_redress() -> None:
    rows = case(OPENED, (RESOLVED, NOON + 3 * DAY))
    day = on(rows, TODAY + 3 * DAY)
    assert (day["decided"], day["upheld"], day["redressed"], day["complaints"]) == (1, 1, 1, 0)
    [redress] = rows.whole(REDRESS)
    assert (redress["currency"], redress["cases"], redress["minor"]) == ("GBP", 1, 2500)
    [stored] = rows.whole(CASES)
    assert (stored["verdict"], stored["decided_at"], stored["reopened"]) == ("upheld", NOON + 3 * DAY, 0)


@pytest.mark.parametrize(("days", "came_back"), [(30, 1), (31, 0)])
def test_a_decision_that_did_not_hold_counts_on_the_day_of_the_decision(days: int, came_back: int) -> None:
    again = ComplaintReopened(complaint_id="p", reason="new letter")
    rows = case(OPENED, (RESOLVED, NOON + DAY), (again, NOON + (1 + days) * DAY))
    assert on(rows, TODAY + DAY)["came_back"] == came_back
    assert on(rows, TODAY + (1 + days) * DAY)["reopened"] == 1
    [stored] = rows.whole(CASES)
    assert (stored["verdict"], stored["reopened"]) == (None, 1)


def test_a_case_that_is_decided_twice_counts_twice_and_came_back_once() -> None:
    again = ComplaintReopened(complaint_id="p", reason="new letter")
    second = ComplaintResolved(complaint_id="p", outcome="settled", reasons="Agreed.", onward_rights="Ombudsman.")
    rows = case(OPENED, (RESOLVED, NOON + DAY), (again, NOON + 2 * DAY), (second, NOON + 3 * DAY))
    total = counted(rows)
    assert (total["decided"], total["came_back"], total["upheld"], total["settled"]) == (2, 1, 1, 1)


def test_a_withdrawal_is_no_decision() -> None:
    rows = case(OPENED, (ComplaintWithdrawn(complaint_id="p"), NOON + DAY))
    total = counted(rows)
    assert (total["withdrawn"], total["decided"]) == (1, 0)
    assert rows.whole(DEADLINES) == []


# --- customers ---


def test_customers_come_move_and_leave() -> None:
    rows = after(
        [
            (CustomerRegistered(branch="Leeds", segment="mass"), NOON),
            (CustomerProfileChanged(branch="York"), NOON + DAY),
            (CustomerProfileChanged(branch="York", name="Another"), NOON + 2 * DAY),
            (CustomerClosed(), NOON + 3 * DAY),
        ]
    )
    moves = [
        (row["day"] - TODAY, row["branch"], row["joined"], row["closed"], row["moved_in"], row["moved_out"])
        for row in rows.whole(MOVES)
    ]
    assert moves == [
        (0 * DAY, "Leeds", 1, 0, 0, 0),
        (DAY, "Leeds", 0, 0, 0, 1),
        (DAY, "York", 0, 0, 1, 0),
        (3 * DAY, "York", 0, 1, 0, 0),
    ]
    assert {row["branch"]: row["customers"] for row in rows.whole(STOCK)} == {"Leeds": 0, "York": 0}


def test_a_relationship_began_on_the_day_that_is_told() -> None:
    rows = after([CustomerRegistered(customer_since=date(2019, 5, 1))])
    assert [(row["day"], row["joined"]) for row in rows.whole(MOVES)] == [(date(2019, 5, 1), 1)]
    late = after([CustomerRegistered(customer_since=date(2039, 5, 1))])
    assert [row["day"] for row in late.whole(MOVES)] == [TODAY]


# --- actions ---


def test_an_action_works_from_the_day_that_is_told_or_from_its_end() -> None:
    opened = ActionOpened(action_id="n", owner="m", due=date(2026, 4, 30), description="tell the fee", product="card")
    [row] = fold(OUTCOMES, recorded(opened, customer=BANK)).whole(ACTIONS)
    assert (row["product"], row["cause"], row["opened_on"], row["result"], row["effective_on"]) == (
        "card", None, TODAY, None, None,
    )  # fmt: skip
    closed = (ActionClosed(action_id="n"), NOON + 5 * DAY)
    [row] = fold(OUTCOMES, recorded(opened, closed, customer=BANK)).whole(ACTIONS)
    assert (row["result"], row["closed_on"], row["effective_on"]) == ("done", TODAY + 5 * DAY, TODAY + 5 * DAY)
    told = (ActionClosed(action_id="n", effective_on=date(2026, 3, 1)), NOON + 5 * DAY)
    [row] = fold(OUTCOMES, recorded(opened, told, customer=BANK)).whole(ACTIONS)
    assert row["effective_on"] == date(2026, 3, 1)
