"""Running deadlines: what of the open cases can still be missed, whatever has happened to them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consumers.deadline_watch import REPEAT, Reported, outgoing
from domain.complaint import Complaint, ComplaintOpened, ComplaintReopened, ComplaintResolved, ComplaintWaiting
from domain.complaint.state import OVER
from domain.ports import Message, Partition
from domain.values import Event, Fact, Position, Recorded
from infra.kafka import codec
from infra.postgres.running_deadlines import report as report_of
from projections.deadlines import CLOCKS, DEADLINES, RUNNING_DEADLINES
from tests.support.builders import NOON
from tests.support.rows import Dated, decided, fold
from tests.unit.test_handling_properties import PUBLISHED, decide_all, facts

DAY = timedelta(days=1)
OPENED = ComplaintOpened(complaint_id="p", channel="app", regime="uk_disp_summary")
WAITING = ComplaintWaiting(complaint_id="p", waiting_for="customer")
RESOLVED = ComplaintResolved(complaint_id="p", outcome="upheld", reasons="r", onward_rights="o", accepted=True)
REOPENED = ComplaintReopened(complaint_id="p", reason="not satisfied")
SERVICE_DUE = NOON + 7 * DAY


def running(events: Sequence[Recorded]) -> dict[str, dict[str, tuple[str, int, datetime]]]:
    """Case -> clock -> preset, version and deadline."""
    return {
        row["case_id"]: {
            clock: (row[f"{clock}_preset"], row[f"{clock}_version"], row[f"{clock}_due"])
            for clock in CLOCKS
            if row[f"{clock}_due"] is not None
        }
        for row in fold(RUNNING_DEADLINES, events).whole(DEADLINES)
    }


def of(*given_facts: Event | Dated) -> dict[str, dict[str, Any]]:
    return running(decided(*given_facts))


def test_both_deadlines_of_an_open_case_run() -> None:
    assert of(OPENED)["p"] == {
        "statutory": ("uk_disp_summary", 1, datetime.fromisoformat("2026-03-05T17:00:00Z")),
        "service": ("service_default", 1, SERVICE_DUE),
    }


def test_what_stops_is_over_or_was_missed_runs_no_more() -> None:
    assert set(of(OPENED, (WAITING, NOON + DAY))["p"]) == {"statutory"}
    assert of(OPENED, (RESOLVED, NOON + DAY)) == {}
    late = of(OPENED, (replace(WAITING, pause="none"), SERVICE_DUE + DAY))
    assert late["p"] == {"statutory": ("uk_disp_standard", 1, datetime.fromisoformat("2026-04-27T22:59:59.999999Z"))}


def test_a_case_that_is_reopened_runs_again_but_not_what_it_missed() -> None:
    missed = (replace(WAITING, pause="none"), SERVICE_DUE + DAY)
    back = (REOPENED, SERVICE_DUE + 3 * DAY)
    assert set(of(OPENED, missed, (RESOLVED, SERVICE_DUE + 2 * DAY), back)["p"]) == {"statutory"}
    anew = (replace(REOPENED, new_facts=True), SERVICE_DUE + 3 * DAY)
    assert set(of(OPENED, missed, (RESOLVED, SERVICE_DUE + 2 * DAY), anew)["p"]) == {"statutory", "service"}


COMPLAINTS = [kind for kind in PUBLISHED if kind.__module__ == ComplaintOpened.__module__]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_what_runs_is_what_a_case_would_accept_as_missed(data: st.DataObject) -> None:
    first = data.draw(facts([ComplaintOpened], usual=True))
    said = [first, *data.draw(st.lists(st.one_of(facts(COMPLAINTS, usual=True), facts(COMPLAINTS)), max_size=20))]
    states, streams, _ = decide_all(said)
    events = [event for stream in streams.values() for event in stream]
    numbered = [replace(event, position=Position(n)) for n, event in enumerate(events, 1)]
    expected = {}
    for name, state in states.items():
        assert isinstance(state, Complaint)
        if state.status not in OVER:
            expected[name.removeprefix("complaint-")] = {
                which: (clock.preset, clock.version, clock.due_at)
                for which, clock in (("statutory", state.statutory), ("service", state.service))
                if clock is not None and clock.due_at is not None and (which, clock.due_at) not in state.missed
            }
    assert running(numbered) == expected


# --- reports ---


def report(case: str = "p", due: datetime = SERVICE_DUE) -> Fact:
    return report_of(due, case, "service", "c1", "service_default", 1)


def test_a_report_reads_back_as_the_same_fact_whoever_made_it() -> None:
    topic, key, value, headers = outgoing(report())
    message = Message(Partition(topic, "t", 0), 0, 0, key, value, tuple(headers))
    fact = codec.decode(message, SERVICE_DUE + DAY)
    assert fact == report()
    assert (fact.meta.source, fact.meta.event_id) == ("/kehu/clocks", f"p:service:{SERVICE_DUE.isoformat()}")
    assert fact.meta.occurred_at == SERVICE_DUE


def test_a_report_on_its_way_is_said_again_only_after_a_while() -> None:
    time = [0.0]
    reported = Reported(lambda: time[0])
    one, other = report("p"), report("q")
    assert reported.new([one, other]) == [one, other]
    reported.add([one])
    assert reported.new([one, other]) == [other]
    time[0] = REPEAT
    assert reported.new([one, other]) == [one, other]


@pytest.mark.parametrize("change", [{"due": SERVICE_DUE + DAY}, {"case": "q"}])
def test_another_deadline_is_another_report(change: dict[str, Any]) -> None:
    assert codec.identity(report(**change).meta) != codec.identity(report().meta)
