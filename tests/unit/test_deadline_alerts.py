"""Deadline alerts: a row for each deadline that an open case has missed, for as long as somebody shall see to it."""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from domain.complaint import (
    ComplaintAssigned,
    ComplaintDeadlineMissed,
    ComplaintEscalated,
    ComplaintOpened,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintWaiting,
    ComplaintWithdrawn,
)
from domain.values import Event
from projections.service_queues import ITEMS, MISSED, SERVICE_QUEUES
from tests.support.builders import NOON
from tests.support.rows import Dated, decided, fold

DAY = timedelta(days=1)
OPENED = ComplaintOpened(complaint_id="p", channel="app", branch="north", segment="private", regime="uk_disp_standard")
DUE = NOON + 7 * DAY
MISS = ComplaintDeadlineMissed(
    complaint_id="p", clock="service", preset="service_default", preset_version=1, due_at=DUE
)
ON_RECORD = (MISS, DUE)
RESOLVED = ComplaintResolved(complaint_id="p", outcome="upheld", reasons="r", onward_rights="o")
WAITS = ComplaintWaiting(complaint_id="p", waiting_for="customer")
REOPENED = ComplaintReopened(complaint_id="p", reason="not satisfied")


def alerts(*facts: Event | Dated) -> dict[tuple[str, str], dict[str, Any]]:
    """Case and clock -> alert."""
    return {(row["case_id"], row["clock"]): row for row in fold(SERVICE_QUEUES, decided(*facts)).whole(MISSED)}


def test_a_deadline_on_record_as_missed_is_an_alert_with_the_rule_and_whose_work_it_is() -> None:
    assert alerts(OPENED) == {}
    assert alerts(OPENED, ON_RECORD) == {
        ("p", "service"): {
            "case_id": "p",
            "clock": "service",
            "preset": "service_default",
            "preset_version": 1,
            "due_at": DUE,
            "customer_id": "c1",
            "status": "open",
            "case_type": "complaint",
            "queue": "complaints",
            "owner": None,
            "priority": 3,
            "opened_at": NOON,
            "branch": "north",
            "product": None,
            "segment": "private",
            "project_id": None,
        }
    }


def test_an_alert_tells_whose_work_the_case_is_now() -> None:
    assigned = (ComplaintAssigned(complaint_id="p", owner="o1", queue="late"), DUE + DAY)
    [told] = alerts(OPENED, ON_RECORD, assigned).values()
    assert (told["queue"], told["owner"], told["status"], told["due_at"]) == ("late", "o1", "assigned", DUE)
    escalated = (ComplaintEscalated(complaint_id="p", to_queue="chiefs", reason="late"), DUE + 2 * DAY)
    [told] = alerts(OPENED, ON_RECORD, assigned, escalated).values()
    assert (told["queue"], told["owner"], told["status"]) == ("chiefs", "o1", "escalated")


def test_a_fact_that_shows_a_miss_raises_the_alert_too() -> None:
    assert set(alerts(OPENED, (WAITS, DUE + DAY))) == {("p", "service")}


def test_the_alerts_of_a_case_that_is_over_are_gone() -> None:
    for over in (RESOLVED, ComplaintWithdrawn(complaint_id="p", reason="r")):
        assert alerts(OPENED, ON_RECORD, (over, DUE + DAY)) == {}
        items = fold(SERVICE_QUEUES, decided(OPENED, ON_RECORD, (over, DUE + DAY))).whole(ITEMS)
        assert [item["late"] for item in items] == [None]


def test_a_case_with_both_deadlines_missed_has_two_alerts() -> None:
    late = (WAITS, NOON + 100 * DAY)
    assert set(alerts(OPENED, late)) == {("p", "statutory"), ("p", "service")}
    assert alerts(OPENED, late, (RESOLVED, NOON + 101 * DAY)) == {}


def test_a_miss_stays_an_alert_when_its_clock_stops_afterwards() -> None:
    assert set(alerts(OPENED, ON_RECORD, (WAITS, DUE + DAY))) == {("p", "service")}


def test_a_fact_of_before_the_deadline_that_moves_it_takes_the_alert_back() -> None:
    assert alerts(OPENED, ON_RECORD, (WAITS, DUE - DAY)) == {}


def test_a_deadline_under_which_a_case_goes_on_is_no_alert() -> None:
    """A summary resolution becomes a standard one (DISP 1.5): the case has eight weeks then."""
    summary = replace(OPENED, regime="uk_disp_summary")
    passed = [event.name for event in decided(summary, (WAITS, NOON + 10 * DAY))]
    assert "complaint.deadline-missed" in passed
    assert set(alerts(summary, (WAITS, NOON + 10 * DAY))) == {("p", "service")}


def test_a_case_that_is_reopened_with_a_deadline_missed_before_needs_somebody_again() -> None:
    back = (OPENED, ON_RECORD, (RESOLVED, DUE + DAY))
    [told] = alerts(*back, (REOPENED, DUE + 2 * DAY)).values()
    assert (told["clock"], told["due_at"]) == ("service", DUE)
    assert alerts(*back, (replace(REOPENED, new_facts=True), DUE + 2 * DAY)) == {}
