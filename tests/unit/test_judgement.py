"""Whether a deadline was met is judged alike wherever it is shown, and a deadline that was missed stays so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.complaint import (
    ComplaintAssigned,
    ComplaintClockSet,
    ComplaintClosed,
    ComplaintDeadlineMissed,
    ComplaintExtended,
    ComplaintFactsAdded,
    ComplaintOpened,
    ComplaintPolicyChanged,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
)
from domain.complaint.standing import standing
from domain.values import Event, Recorded
from projections.outcomes import DEADLINES, OUTCOMES
from projections.retention_risk import RETENTION_RISK, RISK
from projections.service_queues import FLOW, SERVICE_QUEUES
from tests.support.builders import NOON
from tests.support.rows import Dated, decided, fold, recorded
from tests.unit.test_handling_properties import decide_all, facts

DAY = timedelta(days=1)
OPENED = ComplaintOpened(complaint_id="p", channel="app", regime="cn_2020", severity=4)
"""Due on day 15 by law, and in ten business days by service."""
RESOLVED = ComplaintResolved(complaint_id="p", outcome="upheld", reasons="r", onward_rights="o")
TO_UK = ComplaintPolicyChanged(complaint_id="p", actor="h1", reason="r", regime="uk_disp_standard")
EXTENDED = ComplaintExtended(complaint_id="p", actor="h1", reason="r", provided=("complex_flag",))
FACTS = ComplaintFactsAdded(complaint_id="p")
APPRAISAL = ComplaintWaiting(complaint_id="p", waiting_for="third_party", pause="external_appraisal", notice_id="n")
RESUMED = ComplaintResumed(complaint_id="p")
REOPENED = ComplaintReopened(complaint_id="p", reason="again")
SUMMARY = replace(OPENED, regime="uk_disp_summary")


def on(day: float, event: Event) -> Dated:
    return event, NOON + day * DAY


def by_law(events: Sequence[Recorded]) -> tuple[str, str]:
    """How the last decision was judged by law, as all read models and the case itself have it; the preset."""
    last = max(event.meta.occurred_at for event in events)
    [flow] = [row for row in fold(SERVICE_QUEUES, events).whole(FLOW) if row["day"] == last.date()]
    [counted] = [
        row
        for row in fold(OUTCOMES, events).whole(DEADLINES)
        if row["clock"] == "statutory" and row["day"] == last.date()
    ]
    verdict = "missed" if counted["missed"] else "met"
    assert (flow["met_statutory"], flow["missed_statutory"]) == (counted["met"], counted["missed"])
    [shown] = [one for one in standing(events, last, 0.75)[0].clocks if one.clock == "statutory"]
    assert shown.state == verdict
    return verdict, counted["regime"]


@pytest.mark.parametrize(
    ("story", "judged"),
    [
        ([OPENED, on(14, RESOLVED)], ("met", "cn_2020")),
        ([OPENED, on(16, RESOLVED)], ("missed", "cn_2020")),
        # moved in time
        ([OPENED, on(14, TO_UK), on(20, RESOLVED)], ("met", "uk_disp_standard")),
        ([OPENED, on(14, EXTENDED), on(20, RESOLVED)], ("met", "cn_2020")),
        ([OPENED, on(14, FACTS), on(20, RESOLVED)], ("met", "cn_2020")),
        ([OPENED, on(14, APPRAISAL), on(20, RESUMED), on(21, RESOLVED)], ("met", "cn_2020")),
        # moved when it was over
        ([OPENED, on(16, TO_UK), on(20, RESOLVED)], ("missed", "cn_2020")),
        ([OPENED, on(16, FACTS), on(20, RESOLVED)], ("missed", "cn_2020")),
        ([OPENED, on(16, APPRAISAL), on(20, RESUMED), on(21, RESOLVED)], ("missed", "cn_2020")),
        ([OPENED, on(16, TO_UK), on(60, RESOLVED)], ("missed", "cn_2020")),
        ([OPENED, on(14, TO_UK), on(60, RESOLVED)], ("missed", "uk_disp_standard")),
        # the preset itself says how it goes on
        ([SUMMARY, on(20, RESOLVED)], ("met", "uk_disp_standard")),
        ([SUMMARY, on(5, TO_UK), on(20, RESOLVED)], ("met", "uk_disp_standard")),
        ([SUMMARY, on(60, RESOLVED)], ("missed", "uk_disp_standard")),
        # each decision is judged by itself
        ([OPENED, on(16, TO_UK), on(20, RESOLVED), on(21, REOPENED), on(22, RESOLVED)], ("met", "uk_disp_standard")),
        ([OPENED, on(14, RESOLVED), on(20, REOPENED), on(21, RESOLVED)], ("missed", "cn_2020")),
        (
            [OPENED, on(14, RESOLVED), on(20, replace(REOPENED, new_facts=True)), on(21, RESOLVED)],
            ("met", "cn_2020"),
        ),
    ],
)
def test_a_deadline_that_was_over_when_it_was_moved_stays_missed(
    story: list[Event | Dated], judged: tuple[str, str]
) -> None:
    assert by_law(decided(*story)) == judged


def test_a_fact_that_is_told_late_proves_a_recorded_miss_wrong() -> None:
    due = decided(OPENED)[1].event
    assert isinstance(due, ComplaintClockSet)
    assert due.due_at is not None
    missed = ComplaintDeadlineMissed(
        complaint_id="p", clock=due.clock, preset=due.preset, preset_version=1, due_at=due.due_at
    )
    events = decided(OPENED, (missed, due.due_at), on(14, EXTENDED), on(20, RESOLVED))
    assert [event.name for event in events].count("complaint.deadline-missed") == 2, "by law, and by service"
    assert by_law(events) == ("met", "cn_2020")


def risk(events: Sequence[Recorded]) -> list[str]:
    """What a customer's score says of service."""
    [row] = fold(RETENTION_RISK, events).whole(RISK)
    return [reason["code"] for reason in row["reasons"] if reason["code"] == "service-failed"]


@pytest.mark.parametrize(("moved", "counts"), [(14, False), (16, True)])
def test_a_deadline_that_was_over_when_it_was_moved_counts_for_the_risk(moved: int, counts: bool) -> None:
    asked = ComplaintWaiting(complaint_id="p", waiting_for="customer")  # so no service clock runs
    assert risk(decided(OPENED, on(1, asked), on(moved, TO_UK))) == (["service-failed"] if counts else [])
    over = decided(OPENED, on(1, asked), on(moved, TO_UK), on(20, RESUMED), on(20, RESOLVED))
    assert risk(over) == (["service-failed"] if counts else [])


def test_nothing_is_missed_of_a_clock_that_no_case_has() -> None:
    lawless = replace(OPENED, regime="service_default")
    rows = fold(OUTCOMES, decided(lawless, on(1, RESOLVED))).whole(DEADLINES)
    assert [(row["clock"], row["met"]) for row in rows] == [("service", 1)]


COMPLAINTS: list[type[Event]] = [
    *(ComplaintAssigned, ComplaintClosed, ComplaintExtended, ComplaintFactsAdded, ComplaintPolicyChanged),
    *(ComplaintReopened, ComplaintResolved, ComplaintResumed, ComplaintWaiting, ComplaintWithdrawn),
]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_what_is_told_in_order_is_missed_exactly_when_a_miss_is_on_record(data: st.DataObject) -> None:
    """Of the first decision; a deadline that a preset itself lets go on counts as little as its record."""
    first = data.draw(facts([ComplaintOpened], usual=True))
    said = data.draw(st.lists(facts(COMPLAINTS, usual=True), max_size=12))
    said.sort(key=lambda fact: fact.meta.occurred_at)
    said = [fact for fact in said if fact.meta.occurred_at >= first.meta.occurred_at]
    [events] = decide_all([first, *said])[1].values()
    names = [event.name for event in events]
    if "complaint.resolved" not in names or "complaint.withdrawn" in names:
        return
    until = events[: names.index("complaint.resolved") + 1]
    misses: list[Any] = [one.event for one in until if isinstance(one.event, ComplaintDeadlineMissed)]
    on_record = {one.clock for one in misses if one.preset != "uk_disp_summary"}
    judged = {
        (row["clock"], "missed" if row["missed"] else "met")
        for row in fold(OUTCOMES, recorded_again(until)).whole(DEADLINES)
    }
    assert {clock for clock, verdict in judged if verdict == "missed"} == on_record


def recorded_again(events: Sequence[Recorded]) -> list[Recorded]:
    """The same at positions."""
    dated: list[tuple[Event, datetime]] = [(one.event, one.meta.occurred_at) for one in events]
    return recorded(*dated)
