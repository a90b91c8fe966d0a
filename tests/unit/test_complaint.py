"""Complaint: its life cycle, and the statutory and the service clock that run beside it.

Noon is Monday 2 March 2026 in UTC. Deadlines are worked out by hand: eight weeks (UK) end on 27 April, London summer
time, fifteen days (China) on 17 March in Shanghai; the service target is 40 hours of 09:00 to 17:00 UTC on weekdays.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from domain import clocks
from domain.clocks import ExtensionRefused, TimeOutOfRange, Which, presets
from domain.complaint import (
    ComplaintAcknowledged,
    ComplaintAssigned,
    ComplaintClockSet,
    ComplaintClosed,
    ComplaintDeadlineMissed,
    ComplaintEscalated,
    ComplaintExtended,
    ComplaintFactsAdded,
    ComplaintIsOver,
    ComplaintNotOpenedYet,
    ComplaintNotResolvedYet,
    ComplaintNotWaitingYet,
    ComplaintOpened,
    ComplaintOpenedDifferently,
    ComplaintPolicyChanged,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResolvedDifferently,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
    ExtensionTooLate,
    ExtensionWouldBeLost,
    HandlerIsConcerned,
    OnwardRightsMissing,
    PauseNeedsNotice,
    RedressIsNegative,
    RegimeNotInForce,
    RegimeOfOtherCases,
    SameMatterNeedsCase,
    UnknownRegime,
    WrongClock,
    decide,
    evolve,
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
added = ComplaintFactsAdded(complaint_id="p", description="A receipt.", by="h1")
new_facts = ComplaintReopened(complaint_id="p", reason="new documents", new_facts=True)


def extended(*provided: str) -> ComplaintExtended:
    return ComplaintExtended(complaint_id="p", actor="h1", reason="complex", provided=provided)


def policy(regime: str | None = None, service_policy: str | None = None) -> ComplaintPolicyChanged:
    return ComplaintPolicyChanged(
        complaint_id="p", actor="h1", reason="new rules", regime=regime, service_policy=service_policy
    )


def statutory(
    due_at: datetime | None, because: str, preset: str = "cn_2020", starts_at: datetime = NOON, extensions: int = 0
) -> ComplaintClockSet:
    return replace(_clock("statutory", preset, due_at, because, starts_at), extensions=extensions)


def service(
    due_at: datetime | None, because: str, starts_at: datetime = NOON, preset: str = "service_default"
) -> ComplaintClockSet:
    return _clock("service", preset, due_at, because, starts_at)


def missed(which: Which, preset: str, due_at: datetime) -> ComplaintDeadlineMissed:
    return ComplaintDeadlineMissed(complaint_id="p", clock=which, preset=preset, preset_version=1, due_at=due_at)


def _clock(which: Which, preset: str, due_at: datetime | None, because: str, starts_at: datetime) -> ComplaintClockSet:
    return ComplaintClockSet(
        complaint_id="p",
        clock=which,
        preset=preset,
        preset_version=1,
        starts_at=starts_at,
        due_at=due_at,
        because=because,
    )


SUMMARY_MISSED = missed("statutory", "uk_disp_summary", SUMMARY_DUE)
UK_MISSED = missed("statutory", "uk_disp_standard", UK_DUE)
SERVICE_MISSED = missed("service", "service_default", SERVICE_DUE)

# --- life cycle ---


@pytest.mark.parametrize(
    ("history", "next_one"),
    [
        ((opened,), acknowledged),
        ((opened,), assigned),
        ((opened,), escalated),
        ((opened,), added),
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
        ((in_china,), added),
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
    for late in (assigned, waiting, resumed, escalated, added, extended("complex_flag"), policy("uk_disp_psd")):
        given(in_china, *over).when(late).then_refuses(ComplaintIsOver)


def test_a_withdrawal_after_the_resolution_and_the_reverse_are_refused() -> None:
    given(opened, resolved).when(withdrawn).then_refuses(ComplaintIsOver)
    given(opened, withdrawn).when(resolved).then_refuses(ComplaintIsOver)


@pytest.mark.parametrize(
    "early",
    [
        *(acknowledged, assigned, waiting, resumed, escalated, extended(), resolved, reopened, withdrawn, closed),
        *(added, policy(), missed("service", "service_default", SERVICE_DUE)),
    ],
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
    asked = replace(opened, regime="gdpr_dsr", case_type="data_request")
    given(asked).when(silent).then(silent)
    given(asked).when(replace(silent, outcome="rejected")).then_refuses(OnwardRightsMissing)


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


@pytest.mark.parametrize(
    ("regime", "case_type", "fits"),
    [
        ("uk_disp_standard", "complaint", True),
        ("uk_disp_psd", "dispute", True),
        ("cn_2020", "complaint", True),
        ("us_reg_e", "dispute", True),
        ("gdpr_dsr", "data_request", True),
        ("service_default", "complaint", True),
        ("service_always", "data_request", True),
        ("gdpr_dsr", "complaint", False),
        ("pipl_dsr", "dispute", False),
        ("us_reg_z", "complaint", False),
        ("uk_disp_standard", "consultation", False),
        ("cn_2020", "service_request", False),
        ("us_cfpb", "data_request", False),
    ],
)
def test_a_regime_is_for_the_cases_that_its_law_is_about(regime: str, case_type: Any, fits: bool) -> None:
    case, lawless = replace(opened, regime=regime, case_type=case_type), replace(opened, regime="service_default")
    changed = policy(regime)
    if fits:
        assert given().when(case).decided()[0] == case
    else:
        given().when(case).then_refuses(RegimeOfOtherCases)
        given(replace(lawless, case_type=case_type)).when(changed).then_refuses(RegimeOfOtherCases)


def test_a_case_that_was_stored_under_a_regime_of_other_cases_goes_on() -> None:
    law, promise = statutory(UK_DUE, "opened", "gdpr_dsr"), service(SERVICE_DUE, "opened")
    state = None
    for event in (replace(opened, regime="gdpr_dsr"), law, promise):
        state = evolve(state, event, fact(event).meta)
    assert decide(state, fact(assigned)) == (assigned,)
    assert decide(state, fact(resolved, at=NOON + DAY)) == (resolved,)


@pytest.mark.parametrize("at", [datetime.max.replace(tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_a_deadline_beyond_the_calendar_is_refused(at: datetime) -> None:
    given().when(replace(in_china, received_at=at)).then_refuses(TimeOutOfRange)


def test_an_extension_moves_the_statutory_clock_and_needs_what_the_preset_asks() -> None:
    first, second = extended("complex_flag"), extended("superior_approval", "complainant_notice")
    thirty, sixty = CN_DUE + 15 * DAY, CN_DUE + 45 * DAY
    given(in_china).when(first).then(first, statutory(thirty, "extended", extensions=1))
    given(in_china, first).when(second).then(second, statutory(sixty, "extended", extensions=2))
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
        resumed, statutory(CN_DUE + 17 * DAY, "resumed", extensions=1)
    )


def test_reopening_with_the_same_facts_keeps_both_clocks() -> None:
    given(in_china, extended("complex_flag"), resolved).when(reopened, at=NOON + 7 * DAY).then(
        reopened, statutory(CN_DUE + 15 * DAY, "reopened", extensions=1), service(SERVICE_DUE, "reopened")
    )


def test_new_facts_start_the_clocks_anew() -> None:
    again, week = NOON + 7 * DAY, 7 * DAY
    given(in_china, extended("complex_flag"), resolved).when(new_facts, at=again).then(
        new_facts, statutory(CN_DUE + week, "reopened", starts_at=again), service(SERVICE_DUE + week, "reopened", again)
    )
    history = (in_china, extended("complex_flag"), resolved, fact(new_facts, at=again))
    more = extended("complex_flag")
    given(*history).when(more, at=again + HOUR).then(
        more, statutory(CN_DUE + week + 15 * DAY, "extended", starts_at=again, extensions=1)
    )


def test_new_facts_leave_a_statutory_clock_that_knows_no_restart() -> None:
    again = NOON + 7 * DAY
    given(opened, resolved).when(new_facts, at=again).then(
        new_facts,
        statutory(UK_DUE, "reopened", "uk_disp_standard"),
        service(SERVICE_DUE + 7 * DAY, "reopened", again),
    )


def test_new_facts_on_an_open_case_start_the_clocks_anew_whose_preset_says_so() -> None:
    later, week = NOON + 7 * DAY, 7 * DAY
    anew = statutory(CN_DUE + week, "facts-added", starts_at=later)
    given(in_china).when(added, at=later).then(added, anew)
    given(opened).when(added, at=later).then(added)
    given(in_china, extended("complex_flag")).when(added, at=later).then(added, anew)
    given(in_china, extended("complex_flag"), fact(added, at=later)).when(
        extended("complex_flag"), at=later + HOUR
    ).then(
        SERVICE_MISSED,
        extended("complex_flag"),
        statutory(CN_DUE + week + 15 * DAY, "extended", starts_at=later, extensions=1),
    )


def test_new_facts_while_a_clock_is_stopped_count_when_it_goes_on() -> None:
    since, later = fact(appraisal, at=NOON + DAY), NOON + 2 * DAY
    given(in_china, since).when(added, at=later).then(added, statutory(None, "facts-added", starts_at=later))
    # The days before the new facts are no part of the new time; of those after it two were waited.
    given(in_china, since, fact(added, at=later)).when(resumed, at=later + 2 * DAY).then(
        resumed, statutory(CN_DUE + 4 * DAY, "resumed", starts_at=later)
    )


def test_facts_that_were_known_when_the_clock_began_start_nothing_anew() -> None:
    given(in_china).when(added, at=NOON).then(added)
    given(in_china).when(added, at=NOON - HOUR).then(added)
    history = (in_china, fact(added, at=NOON + 2 * DAY))
    earlier = replace(added, description="Another one.")
    given(*history).when(earlier, at=NOON + DAY).then(earlier)


def test_new_facts_after_the_deadline_leave_the_miss_on_record() -> None:
    late = CN_DUE + HOUR
    missed_it = missed("statutory", "cn_2020", CN_DUE)
    given(in_china).when(added, at=late).then(
        missed_it,
        SERVICE_MISSED,
        added,
        statutory(CN_DUE + 16 * DAY, "facts-added", starts_at=late),  # it is the 18th in Shanghai
    )


def test_a_summary_resolution_needs_acceptance_in_three_business_days() -> None:
    accepted = replace(resolved, accepted=True)
    under_standard = statutory(UK_DUE, "resolved", "uk_disp_standard")
    given(summary).when(accepted, at=SUMMARY_DUE).then(accepted)
    given(summary).when(resolved, at=SUMMARY_DUE).then(under_standard, resolved)
    given(summary).when(accepted, at=SUMMARY_DUE + HOUR).then(SUMMARY_MISSED, under_standard, accepted)


def test_a_missed_summary_goes_on_under_the_standard_regime_with_the_next_fact() -> None:
    late = SUMMARY_DUE + HOUR
    under_standard = statutory(UK_DUE, "assigned", "uk_disp_standard")
    given(summary).when(assigned, at=late).then(SUMMARY_MISSED, under_standard, assigned)
    given(summary, fact(assigned, at=late)).when(escalated, at=late).then(escalated)


def test_one_fact_after_both_deadlines_of_a_summary_tells_both() -> None:
    late = UK_DUE + HOUR
    given(summary).when(assigned, at=late).then(
        SUMMARY_MISSED,
        statutory(UK_DUE, "assigned", "uk_disp_standard"),
        UK_MISSED,
        SERVICE_MISSED,
        assigned,
    )


def test_a_case_that_goes_back_to_a_summary_misses_no_deadline_twice() -> None:
    both, back = fact(assigned, at=UK_DUE + HOUR), fact(policy("uk_disp_summary"), at=UK_DUE + 2 * HOUR)
    told = replace(statutory(UK_DUE, "escalated", "uk_disp_standard"), missed=True)
    given(summary, both, back).when(escalated, at=UK_DUE + 3 * HOUR).then(told, escalated)


# --- missed deadlines ---


def test_a_missed_deadline_is_on_record_once() -> None:
    given(opened).when(SERVICE_MISSED, at=SERVICE_DUE).then(SERVICE_MISSED)
    reported = fact(SERVICE_MISSED, at=SERVICE_DUE)
    given(opened, reported).when(SERVICE_MISSED, at=SERVICE_DUE).then_nothing()
    given(opened, reported).when(SERVICE_MISSED, at=SERVICE_DUE + DAY).then_nothing()
    given(opened, reported).when(assigned, at=SERVICE_DUE + DAY).then(assigned)
    given(opened, reported).when(UK_MISSED, at=UK_DUE).then(UK_MISSED)


def test_a_fact_after_the_deadline_tells_the_miss_that_nobody_has_reported() -> None:
    given(opened).when(assigned, at=SERVICE_DUE).then(assigned)
    late = SERVICE_DUE + HOUR
    given(opened).when(assigned, at=late).then(SERVICE_MISSED, assigned)
    given(opened).when(resolved, at=UK_DUE + HOUR).then(UK_MISSED, SERVICE_MISSED, resolved)
    given(opened, fact(assigned, at=late)).when(SERVICE_MISSED, at=SERVICE_DUE).then_nothing()


def test_what_is_not_missed_cannot_be_reported() -> None:
    early = SERVICE_DUE - timedelta(microseconds=1)
    given(opened).when(SERVICE_MISSED, at=early).then_nothing()
    given(opened).when(replace(SERVICE_MISSED, due_at=early), at=SERVICE_DUE).then_nothing()
    given(opened).when(replace(SERVICE_MISSED, preset_version=2), at=SERVICE_DUE).then_nothing()
    given(opened, resolved).when(SERVICE_MISSED, at=SERVICE_DUE).then_nothing()
    given(opened, waiting).when(SERVICE_MISSED, at=SERVICE_DUE).then_nothing()
    given(request).when(UK_MISSED, at=UK_DUE).then_nothing()


def test_a_report_moves_a_missed_summary_to_the_standard_regime() -> None:
    given(summary).when(SUMMARY_MISSED, at=SUMMARY_DUE).then(
        SUMMARY_MISSED, statutory(UK_DUE, "deadline-missed", "uk_disp_standard")
    )


def test_a_reopened_case_can_miss_a_new_deadline_and_never_the_old_one_again() -> None:
    reported = fact(SERVICE_MISSED, at=SERVICE_DUE)
    done, back = fact(resolved, at=SERVICE_DUE + HOUR), SERVICE_DUE + DAY
    told = replace(service(SERVICE_DUE, "reopened"), missed=True)
    given(opened, reported, done).when(reopened, at=back).then(
        reopened, statutory(UK_DUE, "reopened", "uk_disp_standard"), told
    )
    given(opened, reported, done, fact(reopened, at=back)).when(assigned, at=back).then(assigned)
    new_due = SERVICE_DUE + 8 * DAY
    again = missed("service", "service_default", new_due)
    given(opened, reported, done, fact(new_facts, at=back)).when(again, at=new_due).then(again)


# --- policies ---


def test_the_rules_choose_the_service_policy_when_a_case_is_opened() -> None:
    fraud = replace(request, queue="fraud")
    given().when(fraud).then(fraud, service(NOON + DAY, "opened", preset="service_always"))
    urgent = replace(request, case_type="dispute", severity=1)
    given().when(urgent).then(urgent, service(NOON + 4 * HOUR, "opened", preset="service_always"))
    named = replace(request, regime="service_always")
    given().when(named).then(named, service(NOON + DAY, "opened", preset="service_always"))


def test_a_case_keeps_its_policy_in_another_queue() -> None:
    given(request).when(replace(assigned, queue="fraud")).then(replace(assigned, queue="fraud"))


def test_another_regime_keeps_the_beginning_and_the_pauses() -> None:
    since, back = fact(appraisal, at=NOON + DAY), fact(resumed, at=NOON + 3 * DAY)
    to_uk, to_cn = policy("uk_disp_standard"), policy("cn_2020")
    later = NOON + 4 * DAY
    given(in_china, since, back).when(to_uk, at=later).then(
        to_uk, statutory(UK_DUE, "policy-changed", "uk_disp_standard")
    )
    given(in_china, since, back, fact(to_uk, at=later)).when(to_cn, at=later).then(
        to_cn, statutory(CN_DUE + 2 * DAY, "policy-changed")
    )


def test_another_service_policy_keeps_the_time_that_was_waited() -> None:
    since, back = fact(waiting, at=NOON + DAY), fact(resumed, at=NOON + 2 * DAY)
    branch = policy(service_policy="service_branch")
    # 35 hours from Monday noon: 4, on Tuesday 3, on Wednesday 4, then twice 7, on Saturday 3, and all 7 of Monday
    given(request, since, back).when(branch, at=NOON + 3 * DAY).then(
        branch, service(datetime(2026, 3, 9, 17, tzinfo=UTC), "policy-changed", preset="service_branch")
    )


def test_a_case_without_a_law_gets_a_statutory_clock_when_a_regime_is_named() -> None:
    named = policy("uk_disp_standard")
    lawless = replace(opened, regime="service_default")
    given(lawless).when(named, at=NOON + DAY).then(named, statutory(UK_DUE, "policy-changed", "uk_disp_standard"))


def test_a_change_to_what_applies_already_says_nothing_new() -> None:
    given(opened).when(policy(), at=NOON + DAY).then_nothing()
    given(opened).when(policy("uk_disp_standard", "service_default"), at=NOON + DAY).then_nothing()


def test_a_change_is_refused_where_it_names_no_preset_of_that_clock() -> None:
    given(opened).when(policy("service_branch")).then_refuses(WrongClock)
    given(opened).when(policy(service_policy="cn_2020")).then_refuses(WrongClock)
    given(opened).when(policy("moon")).then_refuses(UnknownRegime)


def shorter(**changed: object) -> clocks.Preset:
    """Version 2 of the Chinese preset, in force a week after noon."""
    return replace(clocks.pinned("cn_2020", 1), version=2, effective_from=date(2026, 3, 9), **changed)


def test_a_new_version_is_for_new_cases_and_for_those_that_are_moved_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "PRESETS", (*clocks.PRESETS, shorter(resolve=10)))
    week = NOON + 7 * DAY
    since, back = fact(appraisal, at=week), fact(resumed, at=week + 2 * DAY)
    given(in_china, since).when(resumed, at=week + 2 * DAY).then(
        SERVICE_MISSED, resumed, statutory(CN_DUE + 2 * DAY, "resumed")
    )
    newer = replace(statutory(CN_DUE + 2 * DAY, "opened", starts_at=week), preset_version=2)
    given().when(in_china, at=week).then(in_china, newer, service(SERVICE_DUE + 7 * DAY, "opened", week))
    moved = replace(statutory(CN_DUE - 3 * DAY, "policy-changed"), preset_version=2)
    given(in_china, since, back).when(policy(), at=week + 2 * DAY).then(policy(), moved)


def test_a_version_with_fewer_extensions_than_were_granted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "PRESETS", (*clocks.PRESETS, shorter(extensions=())))
    week = NOON + 7 * DAY
    given(in_china, extended("complex_flag")).when(policy(), at=week).then_refuses(ExtensionWouldBeLost)
    newer = replace(statutory(CN_DUE, "policy-changed"), preset_version=2)
    given(in_china).when(policy(), at=week).then(policy(), newer)


# --- invariants ---


def test_an_extension_after_the_deadline_is_refused() -> None:
    given(in_china).when(extended("complex_flag"), at=CN_DUE).then(
        *(SERVICE_MISSED, extended("complex_flag"), statutory(CN_DUE + 15 * DAY, "extended", extensions=1))
    )
    given(in_china).when(extended("complex_flag"), at=CN_DUE + HOUR).then_refuses(ExtensionTooLate)


def test_whom_a_complaint_is_about_neither_handles_nor_decides_it() -> None:
    about = replace(opened, about_employee="h1")
    given(about).when(assigned).then_refuses(HandlerIsConcerned)
    given(about).when(replace(assigned, owner="h2")).then(replace(assigned, owner="h2"))
    given(about).when(replace(resolved, by="h1")).then_refuses(HandlerIsConcerned)


def test_a_repetition_of_the_same_matter_links_and_opens_no_second_statutory_clock() -> None:
    repeated = replace(opened, related_to="p-0", same_matter=True)
    given().when(repeated).then(repeated, service(SERVICE_DUE, "opened"))
    given().when(replace(repeated, related_to=None)).then_refuses(SameMatterNeedsCase)
    given().when(replace(repeated, related_to="p")).then_refuses(SameMatterNeedsCase)
    related = replace(opened, related_to="p-0")
    given().when(related).then(related, statutory(UK_DUE, "opened", "uk_disp_standard"), service(SERVICE_DUE, "opened"))


def test_a_billing_error_is_due_with_the_second_billing_cycle_when_that_is_earlier() -> None:
    card = replace(opened, regime="us_reg_z", case_type="dispute")
    ninety = datetime(2026, 6, 1, 3, 59, 59, 999999, tzinfo=UTC)
    both = service(SERVICE_DUE, "opened")
    given().when(card).then(card, statutory(ninety, "opened", "us_reg_z"), both)
    soon = replace(card, cycles_end_on=date(2026, 5, 10))
    given().when(soon).then(soon, statutory(ninety - 21 * DAY, "opened", "us_reg_z"), both)
    late = replace(card, cycles_end_on=date(2026, 7, 10))
    given().when(late).then(late, statutory(ninety, "opened", "us_reg_z"), both)
