"""Service queues: what is open where, what flowed, and what a queue looks like at a moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.clocks import CALENDARS
from domain.complaint import (
    ComplaintAcknowledged,
    ComplaintAssigned,
    ComplaintClockSet,
    ComplaintClosed,
    ComplaintEscalated,
    ComplaintOpened,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
)
from domain.contact import ContactAbandoned, ContactEnded, ContactQueued, ContactStarted, ContactTransferred
from domain.rules import Versions
from domain.values import Event
from projections.declare import Row
from projections.service_queues import (
    CELLS,
    DURATIONS,
    FLOW,
    ITEMS,
    SERVICE_QUEUES,
    WINDOWS,
    QueueSummary,
    rounded,
    summarise_queues,
)
from projections.service_queues import summaries as queue_summaries
from projections.service_queues.ages import business_ages
from tests.support.builders import NOON
from tests.support.rows import Dated, MemoryRows, decided, fold, recorded

QUEUED = ContactQueued(contact_id="k1", queue="cards", channel="phone", branch="b1")
OPENED = ComplaintOpened(complaint_id="q1", channel="app", severity=2)
RESOLVED = ComplaintResolved(complaint_id="q1", outcome="upheld", reasons="r", onward_rights="o")


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def folded(*events: Event | Dated) -> MemoryRows:
    return fold(SERVICE_QUEUES, recorded(*events))


def items(*events: Event | Dated) -> list[dict[str, Any]]:
    return folded(*events).whole(ITEMS)


def flow(*events: Event | Dated) -> dict[str, dict[str, int]]:
    """Counters other than zero, by queue."""
    return {row["queue"]: {c: row[c] for c in FLOW.columns if row[c]} for row in folded(*events).whole(FLOW)}


# --- contacts ---


def test_a_queued_contact_waits_in_its_queue() -> None:
    [item] = items(QUEUED)
    assert {name: value for name, value in item.items() if value is not None} == {
        "item_id": "contact-k1",
        "kind": "contact",
        "queue": "cards",
        "status": "waiting",
        "open": True,
        "customer_id": "c1",
        "channel": "phone",
        "priority": 3,
        "opened_at": NOON,
        "waiting_since": NOON,
        "again": False,
        "reopened": 0,
        "branch": "b1",
    }
    assert flow(QUEUED) == {"cards": {"inflow": 1}}


@pytest.mark.parametrize(("wait", "in_time"), [(20, {"answered_in_time": 1}), (21, {})])
def test_an_answer_within_twenty_seconds_is_in_time(wait: int, in_time: dict[str, int]) -> None:
    found = flow(QUEUED, (ContactStarted(contact_id="k1"), after(wait)))["cards"]
    assert found == {"inflow": 1, "answered": 1, "wait_seconds": wait} | in_time


def test_an_ended_contact_leaves_and_its_times_are_counted() -> None:
    ended = ContactEnded(contact_id="k1", resolved=True, hold_seconds=30, wrap_up_seconds=60)
    events = (QUEUED, (ContactStarted(contact_id="k1", agent_id="a1"), after(5)), (ended, after(305)))
    assert items(*events) == []
    assert flow(*events)["cards"] == {
        "inflow": 1,
        "answered": 1,
        "answered_in_time": 1,
        "wait_seconds": 5,
        "outflow": 1,
        "handled": 1,
        "resolved": 1,
        "first_contact": 1,
        "talk_seconds": 300,
        "hold_seconds": 30,
        "wrap_up_seconds": 60,
    }


def test_an_abandoned_contact_leaves() -> None:
    events = (QUEUED, (ContactAbandoned(contact_id="k1"), after(90)))
    assert items(*events) == []
    assert flow(*events) == {"cards": {"inflow": 1, "outflow": 1, "abandoned": 1}}


def test_a_transfer_to_a_queue_waits_again_and_one_to_an_agent_goes_on() -> None:
    started = (ContactStarted(contact_id="k1", agent_id="a1"), after(10))
    moved = (ContactTransferred(contact_id="k1", to_queue="loans"), after(70))
    [item] = items(QUEUED, started, moved)
    assert (item["queue"], item["status"], item["owner"]) == ("loans", "waiting", None)
    assert (item["opened_at"], item["waiting_since"]) == (NOON, after(70))
    found = flow(QUEUED, started, moved, (ContactStarted(contact_id="k1"), after(100)))
    assert (found["cards"]["handled"], found["cards"]["talk_seconds"], found["cards"]["outflow"]) == (1, 60, 1)
    assert found["loans"] == {"inflow": 1, "answered": 1, "wait_seconds": 30}

    to_agent = (ContactTransferred(contact_id="k1", to_queue="loans", to_agent="a2"), after(70))
    [item] = items(QUEUED, started, to_agent)
    assert (item["status"], item["owner"], item["started_at"]) == ("talking", "a2", after(70))


def test_a_second_agent_who_joins_is_no_second_answer() -> None:
    first, second = (ContactStarted(contact_id="k1", agent_id=agent) for agent in ("a1", "a2"))
    [item] = items(QUEUED, (first, after(10)), (second, after(60)))
    assert (item["owner"], item["started_at"]) == ("a2", after(10))
    assert flow(QUEUED, (first, after(10)), (second, after(60)))["cards"]["answered"] == 1


def test_clocks_of_channels_that_disagree_give_no_negative_wait() -> None:
    assert "wait_seconds" not in flow(QUEUED, (ContactStarted(contact_id="k1"), after(-10)))["cards"]


# --- cases ---


def test_a_case_is_open_since_its_receipt_until_its_final_response() -> None:
    received = NOON - timedelta(days=2)
    [item] = items(replace(OPENED, received_at=received))
    assert (item["kind"], item["queue"], item["status"], item["open"]) == ("case", "complaints", "open", True)
    assert (item["priority"], item["regime"], item["opened_at"]) == (2, "uk_disp_standard", received)
    [item] = items(OPENED, RESOLVED)
    assert (item["status"], item["open"]) == ("resolved", False)
    assert flow(OPENED, RESOLVED, ComplaintClosed(complaint_id="q1")) == {
        "complaints": {"inflow": 1, "outflow": 1, "finished": 1}
    }


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([ComplaintAcknowledged(complaint_id="q1")], "acknowledged"),
        ([ComplaintAssigned(complaint_id="q1", owner="h1")], "assigned"),
        ([ComplaintAssigned(complaint_id="q1", owner="h1"), ComplaintAcknowledged(complaint_id="q1")], "assigned"),
        ([ComplaintWaiting(complaint_id="q1", waiting_for="customer")], "waiting"),
        ([ComplaintWaiting(complaint_id="q1", waiting_for="customer"), ComplaintResumed(complaint_id="q1")], "open"),
        ([ComplaintEscalated(complaint_id="q1", reason="r")], "escalated"),
        ([ComplaintWithdrawn(complaint_id="q1")], "withdrawn"),
        ([RESOLVED, ComplaintAcknowledged(complaint_id="q1")], "resolved"),
        ([RESOLVED, ComplaintClosed(complaint_id="q1")], "closed"),
    ],
)
def test_the_status_of_a_case_is_what_happened_last(events: list[Event], status: str) -> None:
    assert items(OPENED, *events)[0]["status"] == status


def test_a_case_that_changes_its_queue_flows_out_of_one_and_into_the_other() -> None:
    moved = ComplaintAssigned(complaint_id="q1", owner="h1", queue="north")
    again = ComplaintEscalated(complaint_id="q1", reason="r", to_queue="head")
    assert items(OPENED, moved, again)[0]["queue"] == "head"
    assert flow(OPENED, moved, again) == {
        "complaints": {"inflow": 1, "outflow": 1},
        "north": {"inflow": 1, "outflow": 1},
        "head": {"inflow": 1},
    }


def test_a_reopened_case_is_back_with_its_history() -> None:
    assigned = ComplaintAssigned(complaint_id="q1", owner="h1", queue="north")
    reopened = ComplaintReopened(complaint_id="q1", reason="r")
    [item] = items(OPENED, assigned, RESOLVED, (reopened, after(60)))
    assert (item["open"], item["status"], item["reopened"], item["owner"]) == (True, "assigned", 1, "h1")
    assert (item["opened_at"], item["waiting_since"]) == (NOON, after(60))
    assert flow(OPENED, assigned, RESOLVED, reopened)["north"] == {
        "inflow": 2,
        "outflow": 1,
        "finished": 1,
        "reopened": 1,
    }


def clock(clock: Any, due: datetime | None, complaint: str = "q1", start: datetime = NOON) -> ComplaintClockSet:
    """A clock that counts calendar time."""
    preset = {"statutory": "us_cfpb", "service": "service_always"}[clock]
    return ComplaintClockSet(
        complaint_id=complaint,
        clock=clock,
        preset=preset,
        preset_version=1,
        starts_at=start,
        due_at=due,
        because="opened",
    )


def test_both_clocks_of_a_case_are_kept_side_by_side() -> None:
    [item] = items(OPENED, clock("statutory", after(900)), clock("service", after(600)), clock("service", None))
    assert (item["statutory_due"], item["service_due"], item["service_from"]) == (after(900), None, NOON)


def test_a_case_is_at_risk_when_three_quarters_of_the_time_of_one_of_its_clocks_are_gone() -> None:
    both = (OPENED, clock("statutory", after(900)), clock("service", after(600), start=after(200)))
    [item] = items(*both)
    assert (item["due"], item["at_risk_at"]) == (after(600), after(500))
    [item] = items(*both, clock("service", None))
    assert (item["due"], item["at_risk_at"]) == (after(900), after(675))
    [item] = items(*both, clock("service", None), clock("statutory", None))
    assert (item["due"], item["at_risk_at"]) == (None, None)
    [item] = items(OPENED, clock("statutory", after(900)), clock("service", after(900), start=after(-300)))
    assert (item["due"], item["at_risk_at"]) == (after(900), after(600)), "the clock that began earlier"
    [item] = items(OPENED, clock("statutory", after(900)), clock("service", after(890), start=after(850)))
    assert (item["due"], item["at_risk_at"]) == (after(890), after(675)), "the clock with the later deadline"


# --- a queue at a moment ---


def queue(now: datetime, *events: Event | Dated) -> QueueSummary:
    rows = folded(*events)
    [summary] = summarise_queues(rows.whole(ITEMS), rows.whole(FLOW), now)
    return summary


def contact(number: int, at: datetime) -> Dated:
    return replace(QUEUED, contact_id=f"k{number}"), at


def test_ages_are_nearest_rank_in_calendar_time() -> None:
    summary = queue(after(1000), *(contact(n, after(100 * n)) for n in range(10)))
    assert (summary.open, summary.waiting) == (10, 10)
    assert (summary.age_p50, summary.age_p90, summary.age_max) == (500, 900, 1000)
    assert queue(after(100), contact(1, NOON)).age_p50 == 100


def test_an_empty_queue_has_flow_and_no_ages() -> None:
    summary = queue(after(100), QUEUED, (ContactAbandoned(contact_id="k1"), after(50)))
    assert (summary.open, summary.age_p50, summary.age_p90, summary.age_max) == (0, None, None, None)
    assert (summary.inflow_today, summary.outflow_today, summary.abandoned_7d) == (1, 1, 1)
    assert (summary.service_level, summary.speed_of_answer, summary.handling_time) == (0.0, None, None)


def test_service_level_speed_and_handling_time_come_from_sums() -> None:
    events: list[Dated] = [contact(n, NOON) for n in range(4)]
    events += [(ContactStarted(contact_id=f"k{n}"), after((10, 20, 60)[n])) for n in range(3)]
    events += [(ContactAbandoned(contact_id="k3"), after(90))]
    events += [(ContactEnded(contact_id="k0", resolved=True, hold_seconds=50, wrap_up_seconds=30), after(110))]
    summary = queue(after(200), *events)
    assert (summary.service_level, summary.speed_of_answer, summary.handling_time) == (0.5, 30.0, 130.0)
    assert (summary.open, summary.waiting) == (2, 0)


def test_deadlines_are_next_overdue_or_at_risk() -> None:
    opened = [replace(OPENED, complaint_id=f"q{n}") for n in range(4)]
    clocks = [
        clock("statutory", after(100), "q0"),
        clock("statutory", after(1000), "q1"),
        clock("service", after(240), "q1"),
        clock("service", after(280), "q2"),
        clock("statutory", None, "q3"),
    ]
    summary = queue(after(200), *opened, *clocks)
    assert (summary.next_statutory_due, summary.next_service_due) == (after(1000), after(240))
    assert (summary.overdue_statutory, summary.overdue_service, summary.at_risk) == (1, 0, 1)
    later = queue(after(241), *opened, *clocks)
    assert (later.overdue_statutory, later.overdue_service, later.at_risk) == (1, 1, 1)


def test_a_closed_case_is_neither_counted_nor_overdue() -> None:
    summary = queue(after(200), OPENED, clock("statutory", after(100)), RESOLVED)
    assert (summary.open, summary.overdue_statutory, summary.outflow_today) == (0, 0, 1)


def test_flow_is_of_today_of_seven_days_and_of_twenty_eight() -> None:
    events = [contact(n, NOON - timedelta(days=n)) for n in range(30)]
    gone = [(ContactAbandoned(contact_id=f"k{n}"), NOON - timedelta(days=n)) for n in range(1, 30)]
    rows = folded(*(one for pair in zip(events[1:], gone, strict=True) for one in pair), events[0])
    [summary] = summarise_queues(rows.whole(ITEMS), rows.whole(FLOW), NOON)
    assert (summary.inflow_today, summary.outflow_today) == (1, 0)
    assert (summary.inflow_7d, summary.outflow_7d) == (7, 6)
    assert summary.days_of_work == pytest.approx(28 / 27)


def test_figures_are_named_by_the_days_that_they_are_of() -> None:
    """A version with other days needs other names, in `QueueSummary` and in `kehu show queues`."""
    assert {(one.short_days, one.long_days) for one in WINDOWS} == {(7, 28)}
    assert {"inflow_7d", "outflow_7d", "net_7d", "abandoned_7d", "reopened_7d"} <= set(QueueSummary.__slots__)


def test_the_flow_is_of_the_days_of_the_version_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second version of the rule, from noon's day on: of three days."""
    first = WINDOWS.latest
    second = replace(first, version=2, effective_from=NOON.date(), short_days=3)
    monkeypatch.setattr(queue_summaries, "WINDOWS", Versions("windows", (first, second)))
    events = [contact(n, NOON - timedelta(days=n)) for n in range(12)]
    rows = folded(*reversed(events))
    [before] = summarise_queues(rows.whole(ITEMS), rows.whole(FLOW), NOON - timedelta(days=1))
    [now] = summarise_queues(rows.whole(ITEMS), rows.whole(FLOW), NOON)
    assert (before.inflow_7d, now.inflow_7d) == (7, 3)


def test_queues_are_apart_by_name_and_kind() -> None:
    rows = folded(QUEUED, replace(OPENED, queue="cards"), replace(OPENED, complaint_id="q2"))
    found = [(s.group, s.kind, s.open) for s in summarise_queues(rows.whole(ITEMS), rows.whole(FLOW), NOON)]
    assert found == [("cards", "case", 1), ("cards", "contact", 1), ("complaints", "case", 1)]


# --- any history ---


def _contact_events(contact_id: str, queue: str, flag: bool) -> list[Event]:
    return [
        ContactQueued(contact_id=contact_id, queue=queue, channel="phone"),
        ContactStarted(contact_id=contact_id, agent_id=queue),
        ContactTransferred(contact_id=contact_id, to_queue=queue, to_agent="a" if flag else None),
        ContactEnded(contact_id=contact_id, resolved=flag),
        ContactAbandoned(contact_id=contact_id),
    ]


def _case_events(complaint_id: str, queue: str, flag: bool) -> list[Event]:
    return [
        ComplaintOpened(complaint_id=complaint_id, channel="app", queue=queue),
        ComplaintAcknowledged(complaint_id=complaint_id),
        ComplaintAssigned(complaint_id=complaint_id, owner="h", queue=queue if flag else None),
        ComplaintEscalated(complaint_id=complaint_id, reason="r", to_queue=queue),
        ComplaintWaiting(complaint_id=complaint_id, waiting_for="customer"),
        ComplaintResumed(complaint_id=complaint_id),
        replace(RESOLVED, complaint_id=complaint_id),
        ComplaintReopened(complaint_id=complaint_id, reason="r", new_facts=flag),
        ComplaintWithdrawn(complaint_id=complaint_id),
        ComplaintClosed(complaint_id=complaint_id),
    ]


queues, times = st.sampled_from(["x", "y"]), st.integers(-90_000, 90_000).map(after)
events_of_contacts = st.builds(_contact_events, st.sampled_from(["k1", "k2", "k3"]), queues, st.booleans())
events_of_cases = st.builds(_case_events, st.sampled_from(["q1", "q2"]), queues, st.booleans())
happenings = st.one_of(events_of_contacts.flatmap(st.sampled_from), events_of_cases.flatmap(st.sampled_from))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(happenings, times), max_size=40), st.sets(st.integers(0, 40)))
def test_what_flowed_in_and_not_out_is_open(history: list[Dated], splits: set[int]) -> None:
    events = decided(*history)
    rows = fold(SERVICE_QUEUES, events, sorted(splits))
    whole = rows.whole(ITEMS), rows.whole(FLOW)
    unsplit = fold(SERVICE_QUEUES, events)
    assert whole == (unsplit.whole(ITEMS), unsplit.whole(FLOW))
    left: dict[tuple[str, str], int] = {}
    counters: list[Row] = [*whole[1]]
    for row in counters:
        assert all(row[name] >= 0 for name in FLOW.columns)
        key = (row["queue"], row["kind"])
        left[key] = left.get(key, 0) + row["inflow"] - row["outflow"]
    for item in whole[0]:
        left[item["queue"], item["kind"]] -= item["open"]
    assert set(left.values()) <= {0}


def test_the_day_of_a_flow_is_that_of_utc() -> None:
    rows = folded((QUEUED, datetime(2026, 3, 2, 23, 30, tzinfo=UTC)))
    assert [row["day"].isoformat() for row in rows.whole(FLOW)] == ["2026-03-02"]


# --- first contact, deadlines met, durations, dimensions ---


def ended(number: int, at: datetime, *, resolved: bool = True, reason: str | None = None) -> list[Dated]:
    """A contact that was answered and ended at once."""
    queued = replace(QUEUED, contact_id=f"k{number}", reason=reason)
    started = ContactStarted(contact_id=f"k{number}", agent_id="a1")
    return [(queued, at), (started, at), (ContactEnded(contact_id=f"k{number}", resolved=resolved), at)]


def first_contacts(*events: Dated) -> int:
    return sum(row["first_contact"] for row in folded(*events).whole(FLOW))


WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("second", "counted"),
    [
        (ended(2, NOON + WEEK, resolved=False), 0),
        (ended(2, NOON + WEEK + timedelta(seconds=1), resolved=False), 1),
        (ended(2, NOON + timedelta(days=1)), 0),
        (ended(2, NOON + timedelta(days=1), resolved=False, reason="cards"), 1),
        (ended(2, NOON - timedelta(days=1), resolved=False), 0),
    ],
    ids=[
        "within the days",
        "later",
        "and that one solved it",
        "about something else",
        "one from before that came late",
    ],
)
def test_a_contact_solved_it_when_the_customer_does_not_come_back_about_the_same(
    second: list[Dated], counted: int
) -> None:
    assert first_contacts(*ended(1, NOON)) == 1
    assert first_contacts(*ended(1, NOON), *second) == counted


def test_what_was_not_solved_at_the_end_is_not_solved_on_first_contact() -> None:
    assert first_contacts(*ended(1, NOON, resolved=False)) == 0


def test_a_first_contact_is_taken_back_once_and_from_the_day_on_which_it_counted() -> None:
    events = [*ended(1, NOON), *ended(2, NOON + timedelta(days=1), resolved=False)]
    events += ended(3, NOON + timedelta(days=2), resolved=False)
    days = {row["day"]: row["first_contact"] for row in folded(*events).whole(FLOW)}
    assert days[NOON.date()] == 0
    assert set(days.values()) == {0}


def test_shares_of_first_contacts_are_provisional_until_the_days_are_over() -> None:
    day = timedelta(days=1)
    summary = queue(NOON + 10 * day, *ended(1, NOON), *ended(2, NOON + 5 * day, resolved=False, reason="cards"))
    assert (summary.first_contact, summary.first_contact_final) == (0.5, 1.0)


@pytest.mark.parametrize(("seconds", "counted"), [(900, "met_statutory"), (901, "missed_statutory")])
def test_a_final_response_is_in_time_until_the_deadline(seconds: int, counted: str) -> None:
    events: list[Event | Dated] = [
        OPENED,
        clock("statutory", after(900)),
        clock("service", None),
        (RESOLVED, after(seconds)),
    ]
    assert flow(*events)["complaints"] == {"inflow": 1, "outflow": 1, "finished": 1, counted: 1}
    summary = queue(after(1000), *events)
    assert summary.in_time_statutory == (counted == "met_statutory")
    assert summary.in_time_service is None


def test_a_case_that_moves_to_another_queue_is_not_finished_there() -> None:
    moved = ComplaintAssigned(complaint_id="q1", owner="h1", queue="north")
    back = ComplaintReopened(complaint_id="q1", reason="r")
    rows = folded(OPENED, moved, RESOLVED, back)
    left, took = summarise_queues(rows.whole(ITEMS), rows.whole(FLOW), NOON)
    assert (left.group, left.reopen_rate, left.outflow_today) == ("complaints", None, 1)
    assert (took.group, took.reopen_rate, took.outflow_today) == ("north", 1.0, 1)


def test_how_long_a_case_took_is_counted_once_until_its_first_final_response() -> None:
    reopened = (ComplaintReopened(complaint_id="q1", reason="r"), after(20 * 3600))
    again = (replace(RESOLVED, outcome="rejected"), after(90 * 3600))
    rows = folded(OPENED, (RESOLVED, after(10.5 * 3600)), reopened, again)
    assert rows.whole(DURATIONS) == [{"queue": "complaints", "case_type": "complaint", "hours": 10, "finished": 1}]
    assert rows.whole(ITEMS)[0]["resolved_at"] == after(10.5 * 3600)


@given(first=st.integers(0, 5000), second=st.integers(0, 5000))
def test_rounded_hours_keep_their_order(first: int, second: int) -> None:
    assert (rounded(first) <= rounded(second)) or first > second
    assert 0 <= first - rounded(first) < 24


def test_groups_are_by_any_dimension_and_what_has_none_is_a_group() -> None:
    events = [replace(OPENED, complaint_id=f"q{n}", branch=("York", None)[n % 2], severity=n + 1) for n in range(3)]
    rows = folded(*events)

    def groups(by: str) -> list[tuple[str, int, int]]:
        found = summarise_queues(rows.whole(ITEMS), rows.whole(CELLS), after(60), by)
        return [(one.group, one.open, one.inflow_7d) for one in found]

    assert groups("branch") == [("", 1, 1), ("York", 2, 2)]
    assert groups("priority") == [("1", 1, 1), ("2", 1, 1), ("3", 1, 1)]
    assert groups("case_type") == [("complaint", 3, 3)]


def test_ages_in_business_time_leave_out_nights_and_weekends() -> None:
    friday = datetime(2026, 3, 6, 16, 0, tzinfo=UTC)
    summary = queue(datetime(2026, 3, 9, 10, 30, tzinfo=UTC), contact(1, friday))
    assert summary.age_p50 == 66.5 * 3600
    assert summary.business_p50 == 2.5 * 3600


moments = st.integers(0, 500 * 86_400).map(
    lambda seconds: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(moments, min_size=1, max_size=20), st.sampled_from(["uk", "cn", "us", "default"]))
def test_business_ages_are_those_of_the_calendar(opened: list[datetime], name: str) -> None:
    now, calendar = datetime(2026, 6, 1, 11, tzinfo=UTC), CALENDARS[name]
    assert business_ages(calendar, opened, now) == [int(calendar.business_seconds(one, now)) for one in opened]


def test_handing_a_case_on_inside_its_queue_flows_neither_into_nor_out_of_it() -> None:
    to = (("a", None), ("b", "complaints"), ("c", None))
    assigned = [ComplaintAssigned(complaint_id="q1", owner=owner, queue=queue) for owner, queue in to]
    rows = folded(OPENED, *assigned, (RESOLVED, after(50)))

    def flows(by: str) -> dict[str, tuple[int, int]]:
        found = summarise_queues(rows.whole(ITEMS), rows.whole(CELLS), after(60), by)
        return {one.group: (one.inflow_7d, one.outflow_7d) for one in found}

    assert flows("queue") == {"complaints": (1, 1)}
    assert flows("owner") == {"": (1, 0), "c": (0, 1)}, "it came in without an owner; the last one finished it"
