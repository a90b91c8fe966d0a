"""Each type of case under the regime that it belongs to: from the channel's messages to the case as it stands."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumers.ingest import Ingest
from consumers.outcome import Outcome
from domain.complaint import (
    ComplaintAcknowledged,
    ComplaintClosed,
    ComplaintExtended,
    ComplaintOpened,
    ComplaintResolved,
    ComplaintResumed,
    ComplaintWaiting,
)
from domain.complaint.standing import Standing, standing
from domain.ports import Message, Partition
from domain.values import Event
from infra import bootstrap
from infra.kafka import codec
from infra.kafka.topics import topic_of
from infra.memory.log import MemoryLog
from tests.support.builders import NOON, fact

DAY = timedelta(days=1)
LATER = NOON + 100 * DAY


@dataclass(frozen=True)
class Life:
    """Facts with the days after noon of 2 March 2026 on which they happen; states of the clocks; local due dates."""

    opened: dict[str, Any]
    then: tuple[tuple[float, Event], ...]
    clocks: dict[str, tuple[str, str]]
    """Clock -> its state in the end, and the UTC date of its deadline."""
    windows: dict[str, str]


def extended(*provided: str) -> ComplaintExtended:
    return ComplaintExtended(complaint_id="p", actor="h1", reason="complex", provided=provided, notice_id="n1")


def waits(pause: str, **more: Any) -> ComplaintWaiting:
    return ComplaintWaiting(complaint_id="p", waiting_for="third_party", pause=pause, **more)


RESUMED, CLOSED = ComplaintResumed(complaint_id="p"), ComplaintClosed(complaint_id="p")
ACKNOWLEDGED = ComplaintAcknowledged(complaint_id="p")
ANSWERED = ComplaintResolved(complaint_id="p", outcome="settled", reasons="Done.")
DECIDED = ComplaintResolved(complaint_id="p", outcome="rejected", reasons="Checked.", onward_rights="Review.")

LIVES = {
    "a complaint in the United Kingdom": Life(
        {"regime": "uk_disp_standard"},
        ((1, ACKNOWLEDGED), (50, DECIDED), (50, CLOSED)),
        {"statutory": ("met", "2026-04-27"), "service": ("missed", "2026-03-09")},
        {"ombudsman": "2026-10-21"},
    ),
    "a complaint in China, extended and with an appraisal": Life(
        {"regime": "cn_2020"},
        ((2, waits("external_appraisal", notice_id="n1")), (6, RESUMED), (10, extended("complex_flag")), (30, DECIDED)),
        {"statutory": ("met", "2026-04-05"), "service": ("missed", "2026-03-09")},
        {"review": "2026-05-01"},
    ),
    "a dispute over a transfer": Life(
        {"regime": "us_reg_e", "case_type": "dispute"},
        ((9, extended("provisional_credit")), (40, ANSWERED)),
        {"statutory": ("met", "2026-04-17"), "service": ("missed", "2026-03-09")},
        {},
    ),
    "a billing error": Life(
        {"regime": "us_reg_z", "case_type": "dispute", "cycles_end_on": datetime(2026, 4, 20, tzinfo=UTC).date()},
        ((20, ACKNOWLEDGED), (55, ANSWERED)),
        {"statutory": ("missed", "2026-04-21"), "service": ("missed", "2026-03-09")},
        {},
    ),
    "a complaint that the CFPB sent": Life(
        {"regime": "us_cfpb", "severity": 4},
        ((14, extended("in_progress_response")), (58, DECIDED)),
        {"statutory": ("met", "2026-05-02"), "service": ("missed", "2026-03-16")},
        {"feedback": "2026-06-29"},
    ),
    "a request for one's data": Life(
        {"regime": "gdpr_dsr", "case_type": "data_request"},
        ((0, waits("identity")), (3, RESUMED), (20, extended("notice_within_1M", "reason")), (80, ANSWERED)),
        {"statutory": ("met", "2026-06-05"), "service": ("missed", "2026-03-09")},
        {},
    ),
    "a request for one's data in China": Life(
        {"regime": "pipl_dsr", "case_type": "data_request"},
        ((20, DECIDED),),
        {"statutory": ("met", "2026-03-23"), "service": ("missed", "2026-03-09")},
        {},
    ),
    "a consultation": Life(
        {"regime": "service_default", "case_type": "consultation"},
        ((1, ANSWERED), (2, CLOSED)),
        {"service": ("met", "2026-03-09")},
        {},
    ),
    "a service request at a branch": Life(
        {"regime": "service_default", "case_type": "service_request", "queue": "branch"},
        ((3, ANSWERED),),
        {"service": ("met", "2026-03-07")},
        {},
    ),
}


def stands(life: Life) -> Standing:
    """The case after its messages went through the ingest."""
    log = MemoryLog()
    ingest = Ingest(log, bootstrap.decoder(lambda: LATER), lambda: LATER)
    partition = Partition(topic_of("complaint.opened"), "t", 0)
    ingest.claim([partition])
    opened = ComplaintOpened(complaint_id="p", channel="app", **life.opened)
    messages = []
    for offset, (days, event) in enumerate(((0.0, opened), *life.then)):
        made = fact(event, f"e{offset}", at=NOON + days * DAY)
        key, value, headers = codec.structured(made)
        messages.append(Message(partition, offset, 0, key, value, tuple(headers)))
    assert ingest.take(ingest.read({partition: messages})) == {Outcome.APPENDED: len(messages)}
    return standing(log.read(0, 100), LATER, 0.75)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LIVES)
def test_a_case_is_handled_under_its_regime(name: str) -> None:
    life = LIVES[name]
    shown = stands(life)
    assert shown.case_type == life.opened.get("case_type", "complaint")
    told = {one.clock: (one.state, f"{one.due_at:%Y-%m-%d}") for one in shown.clocks}
    assert told == life.clocks
    assert {window: f"{until:%Y-%m-%d}" for window, until in shown.windows.items()} == life.windows
    assert {one["clock"] for one in shown.missed} == {which for which, (state, _) in told.items() if state == "missed"}


def test_every_type_of_case_has_a_life() -> None:
    types = {life.opened.get("case_type", "complaint") for life in LIVES.values()}
    assert types == {"complaint", "consultation", "service_request", "dispute", "data_request"}
