"""What customers went through before an answer: with what they were asked about, or else lately."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.complaint import (
    ComplaintAssigned,
    ComplaintClockSet,
    ComplaintEscalated,
    ComplaintOpened,
    ComplaintReopened,
    ComplaintResolved,
)
from domain.contact import ContactAbandoned, ContactQueued, ContactStarted, ContactTransferred
from domain.survey import SurveyInvited, SurveyScored
from domain.values import Event
from projections.satisfaction_causes import ANSWERS, EXPERIENCES, RULES, SATISFACTION_CAUSES, causes, is_low
from tests.support.builders import NOON
from tests.support.rows import Dated, fold, recorded

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
INVITED = SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app", branch="b1")
SCORED = SurveyScored(invitation_id="i", metric="csat", scale=5, score=2, channel="app", invited_at=NOON)
QUEUED = ContactQueued(contact_id="k", queue="cards", channel="phone")
OPENED = ComplaintOpened(complaint_id="q", channel="app")
RESOLVED = ComplaintResolved(complaint_id="q", outcome="upheld", reasons="r")


def clock(due: datetime | None) -> ComplaintClockSet:
    return ComplaintClockSet(
        complaint_id="q", clock="service", preset="p", preset_version=1, starts_at=NOON, due_at=due, because="opened"
    )


GOES_ON = replace(clock(NOON + DAY), preset="uk_disp_summary")


def asked(*before: Event | Dated, about: str | None = None, at: datetime = NOON + 5 * DAY) -> dict[str, Any]:
    """What stands with an answer that comes after all this."""
    invited, scored = (replace(INVITED, about=about), NOON), (SCORED, at)
    [row] = fold(SATISFACTION_CAUSES, recorded(*before, invited, scored)).whole(ANSWERS)
    return row


def before(row: dict[str, Any]) -> set[str]:
    """The causes that came before; of a wait the seconds."""
    found = {name for name in ("reopened", "overdue", "transferred") if row[name]}
    return found | ({f"waited {row['waited']}"} if row["waited"] is not None else set())


REOPENED = ComplaintReopened(complaint_id="q", reason="r")


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([], set()),
        ([OPENED, RESOLVED], set()),
        ([OPENED, RESOLVED, REOPENED], {"reopened"}),
        ([OPENED, clock(NOON + DAY)], {"overdue"}),
        ([OPENED, clock(NOON + 9 * DAY)], set()),
        ([OPENED, clock(NOON + DAY), (RESOLVED, NOON + 2 * DAY)], {"overdue"}),
        ([OPENED, clock(NOON + 2 * DAY), (RESOLVED, NOON + DAY)], set()),
        ([OPENED, clock(NOON + DAY), clock(None)], set()),
        ([OPENED, clock(NOON + DAY), (clock(NOON + 9 * DAY), NOON + 2 * DAY)], {"overdue"}),
        (
            [OPENED, GOES_ON, (clock(NOON + 9 * DAY), NOON + 2 * DAY)],
            set(),
        ),
        ([OPENED, clock(NOON + 2 * DAY), (clock(NOON + 9 * DAY), NOON + DAY)], set()),
        ([OPENED, *(ComplaintAssigned(complaint_id="q", owner=o) for o in "abc")], {"transferred"}),
        ([OPENED, *(ComplaintAssigned(complaint_id="q", owner=o) for o in "aab")], set()),
        ([OPENED, *(ComplaintAssigned(complaint_id="q", owner="a", queue=q) for q in "xxy")], {"transferred"}),
        ([OPENED, *(ComplaintAssigned(complaint_id="q", owner="a", queue=q) for q in ("x", None))], set()),
        ([OPENED, *(ComplaintAssigned(complaint_id="q", owner=o, queue=q) for o, q in ("ax", "bx"))], {"transferred"}),
        ([OPENED, *(ComplaintAssigned(complaint_id="q", owner=o, queue="complaints") for o in "ab")], set()),
        ([OPENED, *(ComplaintEscalated(complaint_id="q", reason="r", to_queue=q) for q in "xy")], {"transferred"}),
        ([OPENED, *(ComplaintEscalated(complaint_id="q", reason="r", to_queue=q) for q in ("x", "x", None))], set()),
        ([QUEUED, (ContactStarted(contact_id="k"), NOON + MINUTE)], {"waited 60"}),
        ([QUEUED, (ContactAbandoned(contact_id="k"), NOON + 2 * MINUTE)], {"waited 120"}),
        (
            [
                QUEUED,
                (ContactStarted(contact_id="k"), NOON + MINUTE),
                (ContactTransferred(contact_id="k", to_queue="loans"), NOON + 2 * MINUTE),
                (ContactTransferred(contact_id="k", to_queue="head", to_agent="a"), NOON + 3 * MINUTE),
                (ContactStarted(contact_id="k"), NOON + 4 * MINUTE),
            ],
            {"waited 180", "transferred"},
        ),
    ],
)
def test_what_went_wrong_is_kept_with_the_answer(events: list[Event | Dated], found: set[str]) -> None:
    assert before(asked(*events)) == found


def test_an_answer_about_one_case_looks_at_no_other() -> None:
    other = [
        replace(OPENED, complaint_id="x"),
        replace(RESOLVED, complaint_id="x"),
        replace(REOPENED, complaint_id="x"),
    ]
    assert before(asked(OPENED, *other, about="q")) == set()
    assert before(asked(OPENED, *other, about="x")) == {"reopened"}
    assert before(asked(OPENED, *other, about="unknown")) == {"reopened"}, "then everything counts"


def test_only_what_happened_in_the_days_of_the_rules_counts() -> None:
    long_ago = NOON - timedelta(days=RULES.latest.window_days - 4)
    events = [(OPENED, long_ago), (RESOLVED, long_ago), (REOPENED, long_ago)]
    assert before(asked(*events)) == set()
    assert before(asked(*events, at=NOON + 4 * DAY)) == {"reopened"}
    assert before(asked(*events, about="q")) == {"reopened"}, "what the question is about counts whenever it was"


def test_what_happens_after_the_answer_is_not_seen() -> None:
    events = recorded((INVITED, NOON), (SCORED, NOON + DAY), (OPENED, NOON), RESOLVED, REOPENED)
    [row] = fold(SATISFACTION_CAUSES, events).whole(ANSWERS)
    assert before(row) == set()


def test_a_changed_answer_is_looked_at_again() -> None:
    again = (replace(SCORED, score=5, previous=2), NOON + 3 * DAY)
    events = recorded((INVITED, NOON), (SCORED, NOON + DAY), (OPENED, NOON), RESOLVED, REOPENED, again)
    [row] = fold(SATISFACTION_CAUSES, events).whole(ANSWERS)
    assert (before(row), row["score"], row["low"]) == ({"reopened"}, 5, False)


def test_an_invitation_without_an_answer_says_nothing_of_causes() -> None:
    [row] = fold(SATISFACTION_CAUSES, recorded(OPENED, RESOLVED, REOPENED, INVITED)).whole(ANSWERS)
    assert (row["score"], row["low"], row["reopened"]) == (None, None, None)


@pytest.mark.parametrize(("metric", "scale", "highest"), [("csat", 5, 2), ("nps", 10, 6), ("ces", 7, 3), ("ces", 5, 2)])
def test_a_low_answer_is_one_by_the_rules(metric: str, scale: int, highest: int) -> None:
    assert is_low(metric, scale, highest, RULES.latest)
    assert not is_low(metric, scale, highest + 1, RULES.latest)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=60), st.sets(st.integers(0, 60)))
def test_so_many_items_are_kept_and_any_cut_gives_the_same(cases: list[int], splits: set[int]) -> None:
    events = recorded(*(replace(OPENED, complaint_id=f"q{n}") for n in cases), INVITED, SCORED)
    rows = fold(SATISFACTION_CAUSES, events, sorted(splits))
    whole = fold(SATISFACTION_CAUSES, events)
    assert rows.whole(ANSWERS) == whole.whole(ANSWERS)
    assert all(len(row["recent"]) <= RULES.latest.kept for row in rows.whole(EXPERIENCES))


def test_a_cause_is_told_with_shares_lift_and_interval_and_not_of_few() -> None:
    counted = {"metric": "csat", "scale": 5, "low": 100, "others": 100, "low_reopened": 20, "others_reopened": 10}
    counted |= {f"{side}_{name}": 0 for side in ("low", "others") for name in ("overdue", "transferred", "waited")}
    reopened, overdue, *_ = causes(counted, 10)
    assert (reopened.low_share, reopened.others_share, reopened.lift) == (0.2, 0.1, 2.0)
    assert (overdue.low_share, overdue.lift, overdue.suppressed) == (0.0, None, False)
    assert all(one.suppressed and one.low_share is None and one.lift is None for one in causes(counted, 101))


def answered_at(days: float, *stored_before: Event | Dated) -> set[str]:
    """The causes of an answer of that day, about the case, and about nothing: they agree."""
    about, general = (before(asked(*stored_before, about=it, at=NOON + days * DAY)) for it in ("q", None))
    assert about == general
    return about


def test_a_case_resolved_in_time_and_reopened_after_its_deadline_is_late_from_the_reopening_on() -> None:
    events: list[Event | Dated] = [OPENED, clock(NOON + 2 * DAY), (RESOLVED, NOON + DAY), (REOPENED, NOON + 4 * DAY)]
    events += [(clock(NOON + 2 * DAY), NOON + 4 * DAY)]
    assert answered_at(3, *events) == set(), "it was closed then"
    assert answered_at(4.5, *events) == {"reopened", "overdue"}
    again = (RESOLVED, NOON + 5 * DAY)
    assert answered_at(3, *events, again) == set()
    assert answered_at(4.5, *events, again) == {"reopened", "overdue"}


def test_a_deadline_missed_after_the_answer_was_not_missed_before_it() -> None:
    events: list[Event | Dated] = [OPENED, clock(NOON + 2 * DAY), (clock(NOON + 9 * DAY), NOON + 3 * DAY)]
    assert answered_at(1, *events) == set()
    assert answered_at(2.5, *events) == {"overdue"}


@pytest.mark.parametrize(
    ("events", "first", "found"),
    [
        ([OPENED, RESOLVED, (REOPENED, NOON + 3 * DAY)], 3, {"reopened"}),
        (
            [OPENED, *((ComplaintAssigned(complaint_id="q", owner=o), NOON + n * DAY) for n, o in enumerate("abcde"))],
            2,
            {"transferred"},
        ),
        (
            [replace(QUEUED, contact_id="q"), (ContactStarted(contact_id="q"), NOON + DAY)],
            1,
            {"waited 86400"},
        ),
    ],
    ids=["reopened", "handed over", "waited"],
)
def test_what_happened_after_the_answer_but_was_stored_before_it_does_not_count(
    events: list[Event | Dated], first: int, found: set[str]
) -> None:
    assert answered_at(first - 0.5, *events) == set()
    assert answered_at(first, *events) == found
    assert answered_at(first + 0.5, *events) == found


def test_a_case_goes_on_counting_when_something_later_was_stored_before_the_answer() -> None:
    events: list[Event | Dated] = [
        OPENED,
        RESOLVED,
        REOPENED,
        (ComplaintAssigned(complaint_id="q", owner="a"), NOON + 9 * DAY),
    ]
    assert answered_at(5, *events) == {"reopened"}


def test_many_waits_add_up_and_few_times_are_kept() -> None:
    ours, waits = RULES.latest.kept_times, RULES.latest.kept_times + 3
    events: list[Event | Dated] = []
    for n in range(waits):
        events += [(QUEUED, NOON + 2 * n * MINUTE), (ContactStarted(contact_id="k"), NOON + (2 * n + 1) * MINUTE)]
        events += [(ContactTransferred(contact_id="k", to_queue="x"), NOON + (2 * n + 1) * MINUTE)]
    assert before(asked(*events)) == {f"waited {60 * waits}", "transferred"}
    [row] = fold(SATISFACTION_CAUSES, recorded(*events)).whole(EXPERIENCES)
    kept = row["recent"]["k"]
    assert (len(kept["times"]), len(kept["waits"]), len(kept["moved"])) == (ours, ours, RULES.latest.transfers)
