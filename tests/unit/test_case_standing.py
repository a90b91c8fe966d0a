"""A case as it stands at a moment: both clocks side by side, what moved them, and why they are due when they are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.complaint import (
    Complaint,
    ComplaintAcknowledged,
    ComplaintEscalated,
    ComplaintExtended,
    ComplaintFactsAdded,
    ComplaintOpened,
    ComplaintPolicyChanged,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResumed,
    ComplaintWaiting,
)
from domain.complaint.standing import ClockStanding, Standing, explanations, standing
from domain.values import Event
from projections.service_queues import ITEMS, RULES, SERVICE_QUEUES, is_at_risk, is_overdue
from tests.support.builders import NOON
from tests.support.rows import Dated, decided, fold
from tests.unit.test_handling_properties import PUBLISHED, decide_all, facts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPENED = ComplaintOpened(complaint_id="p", channel="app", regime="cn_2020")
APPRAISAL = ComplaintWaiting(complaint_id="p", waiting_for="third_party", pause="external_appraisal", notice_id="n1")
RESUMED = ComplaintResumed(complaint_id="p")
RESOLVED = ComplaintResolved(complaint_id="p", outcome="rejected", reasons="r", onward_rights="o")
EXTENDED = ComplaintExtended(complaint_id="p", actor="h1", reason="complex", provided=("complex_flag",))


def at(now: datetime, *said: Any) -> Standing:
    return standing(decided(*said), now, 0.75)[0]


def clock(now: datetime, which: str, *said: Any) -> ClockStanding:
    [found] = [one for one in at(now, *said).clocks if one.clock == which]
    return found


@pytest.mark.parametrize(
    ("after", "state"),
    [(HOUR, "in time"), (11 * DAY, "in time"), (12 * DAY, "at risk"), (15 * DAY, "at risk"), (16 * DAY, "overdue")],
)
def test_a_clock_is_in_time_then_at_risk_then_overdue(after: timedelta, state: str) -> None:
    assert clock(NOON + after, "statutory", OPENED).state == state


def test_both_clocks_stand_side_by_side() -> None:
    statutory, service = at(NOON + 3 * DAY, OPENED).clocks
    assert (statutory.preset, statutory.preset_version, statutory.basis) == ("cn_2020", 1, "law")
    assert statutory.elapsed == pytest.approx(
        3 * 24 / (15 * 24 + 4), abs=1e-6
    )  # the days after noon, to midnight in Shanghai
    assert (service.preset, service.basis) == ("service_default", "policy")
    assert service.elapsed == pytest.approx(24 / 40)


def test_a_stopped_clock_says_when_it_would_be_due_if_work_went_on() -> None:
    stopped = clock(NOON + 4 * DAY, "statutory", OPENED, (APPRAISAL, NOON + 2 * DAY))
    assert (stopped.state, stopped.due_at) == ("stopped", None)
    plain = clock(NOON, "statutory", OPENED).due_at
    assert plain is not None
    assert stopped.due_if_resumed == plain + 2 * DAY
    assert at(NOON + 4 * DAY, OPENED, (APPRAISAL, NOON + 2 * DAY)).pauses == [
        {"from": NOON + 2 * DAY, "to": None, "reason": "external_appraisal", "stops": ["statutory"]}
    ]


def test_a_case_that_is_over_met_or_missed_its_deadlines() -> None:
    now = NOON + 100 * DAY
    assert [one.state for one in at(now, OPENED, (RESOLVED, NOON + DAY)).clocks] == ["met", "met"]
    assert [one.state for one in at(now, OPENED, (RESOLVED, NOON + 8 * DAY)).clocks] == ["met", "missed"]
    late = at(now, OPENED, (RESOLVED, NOON + 20 * DAY))
    assert [one.state for one in late.clocks] == ["missed", "missed"]
    assert [one["clock"] for one in late.missed] == ["statutory", "service"]


def test_after_the_decision_the_customer_has_a_window() -> None:
    shown = at(NOON + 10 * DAY, OPENED, (RESOLVED, NOON + DAY))
    assert shown.windows == {"review": datetime(2026, 4, 2, 15, 59, 59, 999999, tzinfo=UTC)}
    assert at(NOON + DAY, OPENED).windows == {}
    reopened = (ComplaintReopened(complaint_id="p", reason="again"), NOON + 2 * DAY)
    assert at(NOON + 10 * DAY, OPENED, (RESOLVED, NOON + DAY), reopened).windows == {}


def test_all_that_moved_a_case_is_listed() -> None:
    escalated = ComplaintEscalated(complaint_id="p", reason="age", to_queue="head office")
    policy = ComplaintPolicyChanged(complaint_id="p", actor="h2", reason="moved", regime="uk_disp_standard")
    shown = at(NOON + 10 * DAY, OPENED, EXTENDED, (escalated, NOON + HOUR), (policy, NOON + DAY))
    assert [(one["actor"], one["provided"]) for one in shown.extensions] == [("h1", ["complex_flag"])]
    assert [(one["reason"], one["to_queue"]) for one in shown.escalations] == [("age", "head office")]
    assert [(one["actor"], one["regime"]) for one in shown.policies] == [("h2", "uk_disp_standard")]
    assert shown.clocks[0].preset == "uk_disp_standard"
    assert (shown.queue, shown.status) == ("head office", "open")


@pytest.mark.parametrize(
    ("said", "now", "expected"),
    [
        ((), NOON + DAY, "due"),
        ((), NOON + 8 * DAY, "overdue"),
        (((ComplaintAcknowledged(complaint_id="p"), NOON + DAY),), NOON + 8 * DAY, "in time"),
        (((ComplaintAcknowledged(complaint_id="p"), NOON + 8 * DAY),), NOON + 8 * DAY, "late"),
        (((RESOLVED, NOON + DAY),), NOON + 8 * DAY, "in time"),
    ],
)
def test_an_acknowledgement_has_its_own_deadline(said: tuple[Dated, ...], now: datetime, expected: str) -> None:
    uk = replace(OPENED, regime="uk_disp_standard")
    assert clock(now, "statutory", uk, *said).acknowledged == expected
    assert clock(now, "statutory", OPENED, *said).acknowledged is None


def test_an_explanation_counts_the_pause_and_the_extension() -> None:
    events = decided(OPENED, EXTENDED, (APPRAISAL, NOON + 2 * DAY), (RESUMED, NOON + 4 * DAY))
    why = explanations(standing(events, NOON, 0.75)[1], NOON + 5 * DAY)["statutory"]
    assert [(one.why, one.amount) for one in why.stretches] == [
        ("start", 1),
        ("counted", 1),
        ("paused", 2),
        ("counted", 29),
    ]


def test_new_facts_are_listed_with_the_clocks_that_they_started_anew() -> None:
    facts_added = ComplaintFactsAdded(complaint_id="p", description="A receipt.", by="h1")
    events = decided(OPENED, (facts_added, NOON + 5 * DAY))
    shown, state = standing(events, NOON + 6 * DAY, 0.75)
    told = {"at": NOON + 5 * DAY, "by": "h1", "description": "A receipt.", "restarted": ["statutory"]}
    assert shown.facts == [told]
    assert [(one.clock, one.restarted, one.starts_at) for one in shown.clocks] == [
        ("statutory", True, NOON + 5 * DAY),
        ("service", False, NOON),
    ]
    why = explanations(state, NOON + 6 * DAY)
    assert why["statutory"].text().startswith("cn_2020 version 1 (law): 15 calendar days from new facts, calendar cn")
    assert "from receipt" in why["service"].text()
    uk = at(NOON + 6 * DAY, replace(OPENED, regime="uk_disp_standard"), (facts_added, NOON + 5 * DAY))
    assert [one["restarted"] for one in uk.facts] == [[]]


COMPLAINTS = [kind for kind in PUBLISHED if kind.__module__ == ComplaintOpened.__module__]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_each_running_clock_is_explained_to_its_deadline(data: st.DataObject) -> None:
    first = data.draw(facts([ComplaintOpened], usual=True))
    said = [first, *data.draw(st.lists(facts(COMPLAINTS, usual=True), max_size=12))]
    _, streams, _ = decide_all(said)
    for events in streams.values():
        shown, state = standing(events, NOON + 400 * DAY, 0.75)
        assert isinstance(state, Complaint)
        for which, why in explanations(state, NOON + 400 * DAY).items():
            running = state.statutory if which == "statutory" else state.service
            assert running is not None
            assert running.due_at in (None, why.due)
        assert {one.clock for one in shown.clocks} >= {"service"}


def test_a_pause_puts_off_when_a_case_is_at_risk_in_its_queue_too() -> None:
    asked = (ComplaintWaiting(complaint_id="p", waiting_for="customer"), NOON + HOUR)
    events = decided(replace(OPENED, regime="service_default"), asked, (RESUMED, NOON + DAY + HOUR))
    [item] = fold(SERVICE_QUEUES, events).whole(ITEMS)
    # 30 of 40 open hours: one on Monday, four on Tuesday from 13:00, eight each on three days, and one on Monday.
    assert item["at_risk_at"] == datetime(2026, 3, 9, 10, tzinfo=UTC)
    [service] = standing(events, NOON + 2 * DAY, 0.75)[0].clocks
    assert service.at_risk_at == item["at_risk_at"]


def test_an_extension_to_calendar_days_counts_nights_and_weekends() -> None:
    disputed = replace(OPENED, regime="us_reg_e", case_type="dispute")
    longer = ComplaintExtended(complaint_id="p", actor="h1", reason="r", provided=("provisional_credit",))
    events = decided(disputed, longer)
    [item] = fold(SERVICE_QUEUES, events).whole(ITEMS)
    law = clock(NOON, "statutory", disputed, longer)
    assert law.due_at is not None
    assert item["statutory_at_risk_at"] == law.at_risk_at
    assert law.at_risk_at == pytest.approx(NOON + (law.due_at - NOON) * 0.75, abs=timedelta(seconds=1))


MOVING: list[type[Event]] = [
    *(ComplaintWaiting, ComplaintWaiting, ComplaintResumed, ComplaintResumed, ComplaintExtended),
    *(ComplaintFactsAdded, ComplaintPolicyChanged, ComplaintReopened, ComplaintResolved),
]
"""What moves deadlines, the pauses twice as often."""


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_case_is_as_urgent_in_its_queue_as_its_most_urgent_clock(data: st.DataObject) -> None:
    """Told in order, and asked at any moment after it."""
    first = data.draw(facts([ComplaintOpened], usual=True))
    said = data.draw(st.lists(facts(MOVING, usual=True), min_size=3, max_size=10))
    said = sorted(
        (one for one in said if one.meta.occurred_at >= first.meta.occurred_at), key=lambda f: f.meta.occurred_at
    )
    [events] = decide_all([first, *said])[1].values()
    now = events[-1].meta.occurred_at + data.draw(st.timedeltas(timedelta(0), 60 * DAY))
    shown, _ = standing(events, now, RULES.at(now).at_risk_share)
    [item] = fold(SERVICE_QUEUES, events).whole(ITEMS)
    assert item["open"] == (shown.status in ("open", "waiting"))
    states = {one.state for one in shown.clocks}
    if item["open"]:
        assert {one.clock: one.at_risk_at for one in shown.clocks} == {
            one.clock: item[f"{one.clock}_at_risk_at"] for one in shown.clocks
        }
        assert is_overdue(item["due"], now) == ("overdue" in states)
        assert is_at_risk(item, now) == ("at risk" in states and "overdue" not in states)
