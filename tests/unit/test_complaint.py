"""Complaint: its life cycle, and the statutory and the service clock that run beside it.

Noon is Monday 2 March 2026 in UTC. Deadlines are worked out by hand: eight weeks (UK) end on 27 April, London summer
time, fifteen days (China) on 17 March in Shanghai; the service target is 40 hours of 09:00 to 17:00 UTC on weekdays.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from msgspec.structs import replace

from domain.clocks import ExtensionRefused, TimeOutOfRange
from domain.complaint import (
    ComplaintAcknowledged,
    ComplaintAssigned,
    ComplaintClockSet,
    ComplaintClosed,
    ComplaintEscalated,
    ComplaintExtended,
    ComplaintIsOver,
    ComplaintNotOpenedYet,
    ComplaintNotResolvedYet,
    ComplaintNotWaitingYet,
    ComplaintOpened,
    ComplaintOpenedDifferently,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResolvedDifferently,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
    OnwardRightsMissing,
    PauseNeedsNotice,
    RedressIsNegative,
    RegimeNotInForce,
    UnknownRegime,
)
from domain.values import BelongsToAnotherCustomer, Event, Money
from tests.support.builders import NOON, fact
from tests.support.given import given

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
UK_DUE = datetime(2026, 4, 27, 22, 59, 59, 999999, tzinfo=UTC)
CN_DUE = datetime(2026, 3, 17, 15, 59, 59, 999999, tzinfo=UTC)
SUMMARY_DUE = datetime(2026, 3, 5, 17, tzinfo=UTC)
SERVICE_DUE = datetime(2026, 3, 9, 12, tzinfo=UTC)

opened = ComplaintOpened(complaint_id="p", channel="app")
in_china = replace(opened, regime="cn_2020")
summary = replace(opened, regime="uk_disp_summary")
request = replace(opened, regime="service_default", case_type="service_request")
acknowledged = ComplaintAcknowledged(complaint_id="p")
assigned = ComplaintAssigned(complaint_id="p", owner="h1")
waiting = ComplaintWaiting(complaint_id="p", waiting_for="customer")
for_vendor = ComplaintWaiting(complaint_id="p", waiting_for="third_party", pause="waiting_vendor")
appraisal = ComplaintWaiting(complaint_id="p", waiting_for="third_party", pause="external_appraisal", notice_id="n1")
resumed = ComplaintResumed(complaint_id="p")
escalated = ComplaintEscalated(complaint_id="p", reason="age", to_queue="ombudsman desk")
resolved = ComplaintResolved(complaint_id="p", outcome="upheld", reasons="A fee was wrong.", onward_rights="Ombudsman.")
closed = ComplaintClosed(complaint_id="p")
withdrawn = ComplaintWithdrawn(complaint_id="p")
reopened = ComplaintReopened(complaint_id="p", reason="not satisfied")
new_facts = ComplaintReopened(complaint_id="p", reason="new documents", new_facts=True)


def extended(*provided: str) -> ComplaintExtended:
    return ComplaintExtended(complaint_id="p", actor="h1", reason="complex", provided=provided)


def statutory(
    due_at: datetime | None, because: str, preset: str = "cn_2020", starts_at: datetime = NOON
) -> ComplaintClockSet:
    return _clock("statutory", preset, due_at, because, starts_at)


def service(due_at: datetime | None, because: str, starts_at: datetime = NOON) -> ComplaintClockSet:
    return _clock("service", "service_default", due_at, because, starts_at)


def _clock(
    which: Literal["statutory", "service"], preset: str, due_at: datetime | None, because: str, starts_at: datetime
) -> ComplaintClockSet:
    return ComplaintClockSet(
        complaint_id="p",
        clock=which,
        preset=preset,
        preset_version=1,
        starts_at=starts_at,
        due_at=due_at,
        because=because,
    )


# --- life cycle ---


@pytest.mark.parametrize(
    ("history", "next_one"),
    [
        ((opened,), acknowledged),
        ((opened,), assigned),
        ((opened,), escalated),
        ((opened,), for_vendor),
        ((opened, for_vendor), resumed),
        ((opened, for_vendor), assigned),
        ((opened,), resolved),
        ((opened, for_vendor), resolved),
        ((opened, resolved), acknowledged),
        ((opened, resolved), closed),
        ((opened,), withdrawn),
        ((opened, for_vendor), withdrawn),
        ((opened, withdrawn), closed),
        ((opened, resolved, reopened), assigned),
        ((opened, resolved, reopened), replace(resolved, outcome="rejected")),
        ((opened, withdrawn, reopened), replace(withdrawn, reason="again")),
    ],
)
def test_a_complaint_moves_on(history: tuple[Event, ...], next_one: Event) -> None:
    given(*history).when(next_one).then(next_one)


@pytest.mark.parametrize(
    ("history", "again"),
    [
        ((), opened),
        ((opened,), acknowledged),
        ((opened,), assigned),
        ((opened,), waiting),
        ((opened, waiting), resumed),
        ((opened,), escalated),
        ((in_china,), extended("complex_flag")),
        ((opened,), resolved),
        ((opened,), withdrawn),
        ((opened, resolved), closed),
        ((opened, resolved), reopened),
        ((opened, resolved, closed), new_facts),
    ],
)
def test_the_same_twice_says_nothing_new(history: tuple[Event, ...], again: Event) -> None:
    given(*history, again).when(again).then_nothing()


@pytest.mark.parametrize("again", [opened, acknowledged, assigned, waiting, resumed, resolved])
def test_what_was_said_may_come_again_when_the_case_is_closed(again: Event) -> None:
    given(opened, acknowledged, assigned, waiting, resumed, resolved, closed).when(again).then_nothing()


@pytest.mark.parametrize("again", [acknowledged, assigned, waiting, resolved])
def test_a_state_that_is_reached_already_is_nothing_new_at_a_later_time(again: Event) -> None:
    given(opened, again).when(again, at=NOON + HOUR).then_nothing()


def test_a_resolution_or_withdrawal_stays_known_after_closing() -> None:
    given(opened, resolved, closed).when(resolved, at=NOON + HOUR).then_nothing()
    given(opened, withdrawn, closed).when(withdrawn, at=NOON + HOUR).then_nothing()


@pytest.mark.parametrize("over", [(resolved,), (resolved, closed), (withdrawn,), (withdrawn, closed)])
def test_a_complaint_that_is_over_must_be_reopened_first(over: tuple[Event, ...]) -> None:
    for late in (assigned, waiting, resumed, escalated, extended("complex_flag")):
        given(in_china, *over).when(late).then_refuses(ComplaintIsOver)


def test_a_withdrawal_after_the_resolution_and_the_reverse_are_refused() -> None:
    given(opened, resolved).when(withdrawn).then_refuses(ComplaintIsOver)
    given(opened, withdrawn).when(resolved).then_refuses(ComplaintIsOver)


@pytest.mark.parametrize(
    "early", [acknowledged, assigned, waiting, resumed, escalated, extended(), resolved, reopened, withdrawn, closed]
)
def test_every_fact_waits_for_the_opening(early: Event) -> None:
    given().when(early).then_parks(ComplaintNotOpenedYet)


def test_a_closing_or_reopening_waits_for_the_resolution() -> None:
    for history in ((opened,), (opened, waiting), (opened, resolved, reopened)):
        given(*history).when(closed, at=NOON + HOUR).then_parks(ComplaintNotResolvedYet)
        given(*history).when(reopened, at=NOON + HOUR).then_parks(ComplaintNotResolvedYet)


def test_a_resumption_waits_for_the_waiting() -> None:
    given(opened).when(resumed).then_parks(ComplaintNotWaitingYet)


def test_another_outcome_is_refused_until_the_case_is_reopened() -> None:
    rejected = replace(resolved, outcome="rejected")
    given(opened, resolved).when(rejected).then_refuses(ComplaintResolvedDifferently)
    given(opened, resolved, closed).when(rejected).then_refuses(ComplaintResolvedDifferently)
    given(opened, resolved, reopened).when(rejected).then(rejected)


def test_the_final_response_to_a_complaint_tells_onward_rights() -> None:
    silent = replace(resolved, onward_rights=None)
    given(opened).when(silent).then_refuses(OnwardRightsMissing)
    given(request).when(silent).then(silent)


def test_redress_is_never_negative() -> None:
    given(opened).when(replace(resolved, redress=Money(minor=-1, currency="EUR"))).then_refuses(RedressIsNegative)
    nothing = replace(resolved, redress=Money(minor=0, currency="EUR"))
    given(opened).when(nothing).then(nothing)


def test_another_complaint_under_the_same_id_is_refused() -> None:
    given(opened).when(opened, at=NOON + DAY).then_refuses(ComplaintOpenedDifferently)
    given(opened).when(in_china).then_refuses(ComplaintOpenedDifferently)


@pytest.mark.parametrize("data", [opened, assigned, resolved])
def test_another_customer_is_refused(data: Event) -> None:
    given(opened).when(data, customer="c2").then_refuses(BelongsToAnotherCustomer)


# --- clocks ---


def test_both_clocks_start_when_the_complaint_reached_the_bank() -> None:
    given().when(opened).then(opened, statutory(UK_DUE, "opened", "uk_disp_standard"), service(SERVICE_DUE, "opened"))
    earlier = replace(opened, received_at=NOON - DAY)
    start = NOON - DAY
    given().when(earlier).then(
        earlier,
        statutory(UK_DUE - DAY, "opened", "uk_disp_standard", start),
        service(datetime(2026, 3, 6, 17, tzinfo=UTC), "opened", start),  # all 40 hours from Monday, 09:00
    )


def test_the_service_target_depends_on_the_severity() -> None:
    urgent = replace(opened, severity=1)
    due_at = datetime(2026, 3, 3, 12, tzinfo=UTC)  # eight hours: five on Monday, three on Tuesday
    given().when(urgent).then(urgent, statutory(UK_DUE, "opened", "uk_disp_standard"), service(due_at, "opened"))


def test_a_case_without_a_law_has_the_service_clock_only() -> None:
    given().when(request).then(request, service(SERVICE_DUE, "opened"))


def test_a_regime_must_exist_and_be_in_force() -> None:
    given().when(replace(opened, regime="moon")).then_refuses(UnknownRegime)
    before = replace(in_china, received_at=datetime(2019, 3, 1, tzinfo=UTC))
    given().when(before).then_refuses(RegimeNotInForce)


@pytest.mark.parametrize("at", [datetime.max.replace(tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_a_deadline_beyond_the_calendar_is_refused(at: datetime) -> None:
    given().when(replace(in_china, received_at=at)).then_refuses(TimeOutOfRange)


def test_an_extension_moves_the_statutory_clock_and_needs_what_the_preset_asks() -> None:
    first, second = extended("complex_flag"), extended("superior_approval", "complainant_notice")
    thirty, sixty = CN_DUE + 15 * DAY, CN_DUE + 45 * DAY
    given(in_china).when(first).then(first, statutory(thirty, "extended"))
    given(in_china, first).when(second).then(second, statutory(sixty, "extended"))
    given(in_china).when(extended()).then_refuses(ExtensionRefused)
    given(in_china, first).when(extended("superior_approval")).then_refuses(ExtensionRefused)
    given(in_china, first, second).when(first, at=NOON + HOUR).then_refuses(ExtensionRefused)


def test_a_regime_without_extensions_refuses_them() -> None:
    given(opened).when(extended("complex_flag")).then_refuses(ExtensionRefused)
    given(request).when(extended("complex_flag")).then_refuses(ExtensionRefused)


def test_waiting_for_the_customer_stops_the_service_clock_only() -> None:
    given(in_china).when(waiting).then(waiting, service(None, "waiting"))
    since = fact(waiting, at=NOON + DAY)
    later = SERVICE_DUE + DAY  # eight open hours from Tuesday noon to Wednesday noon
    given(in_china, since).when(resumed, at=NOON + 2 * DAY).then(resumed, service(later, "resumed"))


def test_an_appraisal_stops_the_statutory_clock_in_china() -> None:
    since = fact(appraisal, at=NOON + DAY)
    given(in_china).when(appraisal, at=NOON + DAY).then(appraisal, statutory(None, "waiting"))
    two_days = CN_DUE + 2 * DAY
    given(in_china, since).when(resumed, at=NOON + 3 * DAY).then(resumed, statutory(two_days, "resumed"))
    given(opened).when(appraisal).then(appraisal)


def test_an_appraisal_without_notice_is_refused_where_it_would_stop_the_clock() -> None:
    untold = replace(appraisal, notice_id=None)
    given(in_china).when(untold).then_refuses(PauseNeedsNotice)
    given(opened).when(untold).then(untold)


def test_another_reason_to_wait_stops_one_clock_and_starts_the_other() -> None:
    since = fact(waiting, at=NOON + DAY)
    later = SERVICE_DUE + DAY
    given(in_china, since).when(appraisal, at=NOON + 2 * DAY).then(
        appraisal, statutory(None, "waiting"), service(later, "waiting")
    )


@pytest.mark.parametrize(("end", "because"), [(resolved, "resolved"), (withdrawn, "withdrawn")])
def test_an_end_while_waiting_first_tells_by_when_it_was_due(end: Event, because: str) -> None:
    since = fact(waiting, at=NOON + DAY)
    given(in_china, since).when(end, at=NOON + 2 * DAY).then(service(SERVICE_DUE + DAY, because), end)


def test_an_extension_while_the_clock_is_stopped_counts_when_it_goes_on() -> None:
    since = fact(appraisal, at=NOON + DAY)
    given(in_china, since).when(extended("complex_flag")).then(extended("complex_flag"))
    given(in_china, since, extended("complex_flag")).when(resumed, at=NOON + 3 * DAY).then(
        resumed, statutory(CN_DUE + 17 * DAY, "resumed")
    )


def test_reopening_with_the_same_facts_keeps_both_clocks() -> None:
    given(in_china, extended("complex_flag"), resolved).when(reopened, at=NOON + 7 * DAY).then(
        reopened, statutory(CN_DUE + 15 * DAY, "reopened"), service(SERVICE_DUE, "reopened")
    )


def test_new_facts_start_the_clocks_anew() -> None:
    again, week = NOON + 7 * DAY, 7 * DAY
    given(in_china, extended("complex_flag"), resolved).when(new_facts, at=again).then(
        new_facts, statutory(CN_DUE + week, "reopened", starts_at=again), service(SERVICE_DUE + week, "reopened", again)
    )
    history = (in_china, extended("complex_flag"), resolved, fact(new_facts, at=again))
    more = extended("complex_flag")
    given(*history).when(more, at=again + HOUR).then(
        more, statutory(CN_DUE + week + 15 * DAY, "extended", starts_at=again)
    )


def test_new_facts_leave_a_statutory_clock_that_knows_no_restart() -> None:
    again = NOON + 7 * DAY
    given(opened, resolved).when(new_facts, at=again).then(
        new_facts,
        statutory(UK_DUE, "reopened", "uk_disp_standard"),
        service(SERVICE_DUE + 7 * DAY, "reopened", again),
    )


def test_a_summary_resolution_needs_acceptance_in_three_business_days() -> None:
    accepted = replace(resolved, accepted=True)
    under_standard = statutory(UK_DUE, "resolved", "uk_disp_standard")
    given(summary).when(accepted, at=SUMMARY_DUE).then(accepted)
    given(summary).when(resolved, at=SUMMARY_DUE).then(under_standard, resolved)
    given(summary).when(accepted, at=SUMMARY_DUE + HOUR).then(under_standard, accepted)


def test_a_missed_summary_goes_on_under_the_standard_regime_with_the_next_fact() -> None:
    late = SUMMARY_DUE + HOUR
    given(summary).when(assigned, at=late).then(statutory(UK_DUE, "assigned", "uk_disp_standard"), assigned)
    given(summary, fact(assigned, at=late)).when(escalated, at=late).then(escalated)
