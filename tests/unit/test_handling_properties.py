"""No sequence of facts crashes a decision or leaves a state that breaks an invariant.

Whatever the channels send, in whatever order and at whatever time: each fact is accepted, parked or refused, the events
fold to the state that decided them, also after a detour over JSON, and the rules below hold for every stream.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields

from domain import clocks, contracts, handling, registry
from domain.account import AccountMonth, TransactionPosted, TransactionReversed
from domain.action import Action, ActionClosed, ActionOpened
from domain.complaint import (
    Clock,
    Complaint,
    ComplaintClockSet,
    ComplaintClosed,
    ComplaintDeadlineMissed,
    ComplaintExtended,
    ComplaintOpened,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintWaiting,
    ComplaintWithdrawn,
)
from domain.complaint.events import CaseType
from domain.contact import Contact, ContactAbandoned, ContactEnded, ContactQueued, ContactStarted, ContactTransferred
from domain.customer import (
    Customer,
    CustomerClosed,
    CustomerConsentChanged,
    CustomerMerged,
    CustomerRegistered,
    CustomerUnmerged,
)
from domain.errors import NotYet, Refused
from domain.survey import RULES, Survey, SurveyAnswered, SurveyInvited, SurveyScored, lowest
from domain.values import BANK, Event, Fact, Money, Recorded, to_json
from tests.support.builders import NOON, fact, smallest

PUBLISHED = [r.event for r in registry.all_registrations() if r.published]
OPENINGS = [CustomerRegistered, ContactQueued, ComplaintOpened, SurveyInvited, TransactionPosted, ActionOpened]
REGIMES = [preset.name for preset in clocks.PRESETS]

MONEY = st.builds(Money, minor=st.integers(-2, 2), currency=st.sampled_from(["EUR", "CNY"]))
SOON = st.integers(-24, 30 * 24).map(lambda hours: NOON + timedelta(hours=hours))
TIMES = st.one_of(
    SOON,
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]),
)
ALL_NEEDS = sorted({need for preset in clocks.PRESETS for one in preset.extensions for need in one.needs})
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "contact_id": st.sampled_from(["k", "k", "k", "l"]),
    "complaint_id": st.sampled_from(["p", "p", "p", "q"]),
    "invitation_id": st.sampled_from(["i", "i", "i", "j"]),
    "account_id": st.just("a"),
    "action_id": st.just("n"),
    "due": st.sampled_from([date(2026, 4, 30), date(2026, 5, 31)]),
    "result": st.sampled_from(["done", "dropped"]),
    "transaction_id": st.sampled_from(["t", "u", "v"]),
    "booked_on": st.sampled_from([date(2026, 3, 2), date(2026, 3, 31), date(2026, 4, 1)]),
    "amount": MONEY,
    "redress": st.none() | MONEY,
    "regime": st.sampled_from([*REGIMES, "cn_2020", "uk_disp_summary", "unknown"]),
    "service_policy": st.sampled_from([None, "service_always", "service_branch", "cn_2020"]),
    "queue": st.sampled_from(["complaints", "fraud", "branch"]),
    "cycles_end_on": st.none() | st.dates(date(2026, 2, 1), date(2026, 6, 1)),
    "about_employee": st.sampled_from([None, None, "h1"]),
    "owner": st.sampled_from(["h1", "h2"]),
    "due_at": st.just(datetime(2026, 3, 9, 12, tzinfo=UTC)),
    "preset": st.just("service_default"),
    "preset_version": st.just(1),
    "clock": st.sampled_from(["statutory", "service"]),
    "received_at": st.none() | TIMES,
    "severity": st.integers(1, 4),
    "case_type": st.sampled_from(["complaint", "service_request"]),
    "pause": st.sampled_from(["waiting_customer", "external_appraisal", "identity", "lunch"]),
    "notice_id": st.sampled_from([None, "n1"]),
    "waiting_for": st.sampled_from(["customer", "third_party"]),
    "provided": st.lists(st.sampled_from(ALL_NEEDS), max_size=3).map(tuple),
    "outcome": st.sampled_from(["upheld", "rejected"]),
    "reasons": st.just("A fee was wrong."),
    "onward_rights": st.sampled_from([None, "Ombudsman.", "Review within 30 days."]),
    "accepted": st.booleans(),
    "new_facts": st.booleans(),
    "resolved": st.booleans(),
    "to_agent": st.sampled_from([None, "a1", "a2"]),
    "agent_id": st.sampled_from([None, "a1", "a2"]),
    "metric": st.sampled_from(["csat", "nps", "ces"]),
    "scale": st.sampled_from([5, 7, 10]),
    "score": st.integers(0, 10),
    "status": st.sampled_from(["granted", "denied", "revoked"]),
    "name": st.sampled_from([None, "One", "Two"]),
    "into": st.sampled_from(["c1", "c3", "c4"]),
    "national_id_hash": st.sampled_from([None, "a" * 32, "b" * 32]),
    "customer_number": st.sampled_from([None, "1", "2"]),
    "customer_number_issuer": st.sampled_from([None, "cards"]),
    "products": st.sampled_from([(), ("card",)]),
}


USUAL = VALUES | {
    "contact_id": st.just("k"),
    "complaint_id": st.just("p"),
    "invitation_id": st.just("i"),
    "regime": st.sampled_from(["cn_2020", "uk_disp_summary", "uk_disp_standard", "gdpr_dsr", "us_reg_e", "us_reg_z"]),
    "received_at": st.none(),
    "about_employee": st.none(),
    "service_policy": st.sampled_from([None, "service_always", "service_branch"]),
    "notice_id": st.just("n1"),
    "onward_rights": st.just("Ombudsman."),
    "redress": st.none(),
    "provided": st.just(tuple(ALL_NEEDS)),
    "metric": st.just("ces"),
    "scale": st.just(7),
    "score": st.integers(1, 7),
}
"""Values that are rarely refused, so that lives go far."""


@st.composite
def facts(draw: st.DrawFn, kinds: Sequence[type[Event]] = PUBLISHED, *, usual: bool = False) -> Fact:
    """A fact of one of the kinds; mostly about customer c1, and never about another one when it is `usual`.

    Actions are mostly the bank's.
    """
    kind, values = draw(st.sampled_from(kinds)), USUAL if usual else VALUES
    said: dict[str, Any] = {}
    for one in fields(kind):
        if one.name in values:
            said[one.name] = draw(values[one.name])
        elif one.required:
            said[one.name] = "x"
    if usual and issubclass(kind, ComplaintOpened):
        fitting = clocks.case_types(said["regime"], NOON)
        said["case_type"] = draw(st.sampled_from([one for one in get_args(CaseType) if one in fitting]))
    own = BANK if issubclass(kind, ActionOpened | ActionClosed) else "c1"
    customer = own if usual else draw(st.sampled_from([own, own, own, "c2", BANK]))
    return fact(kind(**said), customer=customer, at=draw(SOON if usual else TIMES))


# --- the rules that hold for every stream, whatever was sent ---


def check_complaint(state: Complaint, events: Sequence[Recorded]) -> None:
    over, extensions = False, 0
    missed: set[tuple[str, datetime | None]] = set()
    deadlines: dict[str, datetime | None] = {}
    assert isinstance(events[0].event, ComplaintOpened)
    for recorded in events:
        event = recorded.event
        match event:
            case ComplaintResolved():
                assert event.reasons
                assert event.onward_rights or state.case_type != "complaint"
                assert event.redress is None or event.redress.minor >= 0
                over = True
            case ComplaintWithdrawn():
                over = True
            case ComplaintReopened():
                assert over
                over = False
            case ComplaintClosed():
                assert over, "closed with an open statutory clock"
            case ComplaintExtended():
                assert not over
                extensions += 1
            case ComplaintWaiting():
                assert not over
            case ComplaintDeadlineMissed():
                assert not over
                assert event.due_at <= recorded.meta.occurred_at
                assert (event.clock, event.due_at) not in missed, "one event for each missed deadline"
                assert deadlines[event.clock] == event.due_at
                missed.add((event.clock, event.due_at))
            case ComplaintClockSet():
                assert event.due_at is None or event.due_at >= event.starts_at
                assert event.missed == ((event.clock, event.due_at) in missed)
                deadlines[event.clock] = event.due_at
    assert (state.status in ("resolved", "closed", "withdrawn")) == over
    assert (state.status == "resolved") <= (state.outcome is not None)
    assert (state.status == "closed") <= (state.outcome is not None or state.withdrawn)
    assert state.extensions <= extensions
    assert set(state.missed) == missed
    assert state.service is not None
    check_clock(state, state.service, 0)
    if state.statutory is not None:
        check_clock(state, state.statutory, state.extensions)


def check_clock(state: Complaint, clock: Clock, extensions: int) -> None:
    """The deadline is the one that the preset gives; no deadline exactly while a pause lasts that the preset lists."""
    preset = clocks.pinned(clock.preset, clock.version).for_severity(state.severity)
    lasting = [reason for _, end, reason in state.pauses if end is None]
    assert len(lasting) == (state.status == "waiting")
    if set(lasting) & preset.pauses:
        assert clock.due_at is None
    else:
        assert clock.due_at == clocks.due(
            preset, clock.starts_at, extensions=extensions, pauses=state.pauses, cycles_end=state.cycles_end_on
        )


def check_survey(state: Survey, events: Sequence[Recorded]) -> None:
    counted: int | None = None
    first: datetime | None = None
    for recorded in events:
        event, at = recorded.event, recorded.meta.occurred_at
        if isinstance(event, SurveyAnswered):
            first = first or at
            assert at - first <= timedelta(days=RULES.latest.edit_window_days)
        if isinstance(event, SurveyScored):
            assert event.previous == counted, "a score is counted that another one replaced, or one twice"
            assert lowest(state.metric) <= event.score <= state.scale
            counted = event.score
    assert state.score == counted
    assert (state.status == "answered") == (counted is not None)


def check_contact(state: Contact, events: Sequence[Recorded]) -> None:
    answered = False
    for number, recorded in enumerate(events, 1):
        match recorded.event:
            case ContactStarted():
                answered = True
            case ContactTransferred(to_agent=agent):
                answered = agent is not None
            case ContactEnded():
                assert answered
                assert number == len(events)
            case ContactAbandoned():
                assert not answered
                assert number == len(events)
    assert state.status in ("ended", "abandoned", "active" if answered else "waiting")


def check_account(state: AccountMonth, events: Sequence[Recorded]) -> None:
    posted: dict[str, tuple[int, str, bool]] = {}
    for recorded in events:
        event = recorded.event
        if isinstance(event, TransactionPosted):
            assert event.transaction_id not in posted
            posted[event.transaction_id] = (event.amount.minor, event.amount.currency, False)
        if isinstance(event, TransactionReversed):
            minor, currency, reversed_before = posted[event.transaction_id]
            assert not reversed_before
            posted[event.transaction_id] = (minor, currency, True)
    assert state.postings == posted


def check_customer(state: Customer, events: Sequence[Recorded]) -> None:
    kinds = [type(recorded.event) for recorded in events]
    closings = kinds.count(CustomerClosed)
    assert closings == state.closed
    if closings:
        after = {CustomerConsentChanged, CustomerMerged, CustomerUnmerged}
        assert set(kinds[kinds.index(CustomerClosed) + 1 :]) <= after
    merges = [one.event for one in events if isinstance(one.event, CustomerMerged | CustomerUnmerged)]
    assert [type(one) for one in merges] == [(CustomerMerged, CustomerUnmerged)[n % 2] for n in range(len(merges))]
    assert all(merge.into == undone.into for merge, undone in zip(merges[::2], merges[1::2], strict=False))
    assert (state.merged_into is not None) == len(merges) % 2
    assert state.merged_into != state.customer_id


def check_action(state: Action, events: Sequence[Recorded]) -> None:
    assert [type(recorded.event) for recorded in events] == [ActionOpened, ActionClosed][: len(events)]
    assert {recorded.meta.customer_id for recorded in events} == {BANK}
    assert (state.closing is not None) == (len(events) == 2)


CHECKS: dict[type, Callable[[Any, Sequence[Recorded]], None]] = {
    Complaint: check_complaint,
    Survey: check_survey,
    Contact: check_contact,
    AccountMonth: check_account,
    Customer: check_customer,
    Action: check_action,
}


def stored(recorded: Recorded) -> Recorded:
    """The event as it comes back from its JSON."""
    event = contracts.convert(type(recorded.event), orjson.loads(to_json(recorded.event)))
    return Recorded(recorded.originator_id, recorded.originator_version, event, recorded.meta, recorded.name)


def decide_all(sequence: Sequence[Fact]) -> tuple[dict[str, object], dict[str, list[Recorded]], dict[str, Fact]]:
    """The states, the streams and their last accepted facts. A decision may raise NotYet and Refused, nothing else."""
    states: dict[str, object] = {}
    last: dict[str, Fact] = {}
    streams: dict[str, list[Recorded]] = {}
    for made in sequence:
        name = handling.stream_of(made)
        try:
            state, events = handling.handle(states.get(name), made)
        except (NotYet, Refused):
            continue
        states[name], last[name] = state, made
        stream = streams.setdefault(name, [])
        for event in events:
            stream.append(Recorded(name, len(stream) + 1, event, made.meta, registry.of(event).name))
    return states, streams, last


def check_all(sequence: Sequence[Fact]) -> None:
    """The rules, and that what was accepted last is known again: a stream takes its repetition as nothing new."""
    states, streams, last = decide_all(sequence)
    for name, state in states.items():
        events = streams[name]
        assert len({recorded.meta.customer_id for recorded in events}) == 1
        assert handling.fold(stored(recorded) for recorded in events) == state
        kind, dumped = handling.dump_state(state)
        assert handling.load_state(kind, dumped) == state
        CHECKS[type(state)](state, events)
        assert handling.handle(state, last[name]) == (state, ())


@settings(deadline=None, max_examples=150)
@given(st.lists(facts(), max_size=40))
def test_any_sequence_keeps_the_rules(sequence: list[Fact]) -> None:
    check_all(sequence)


@pytest.mark.parametrize("opening", OPENINGS)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.large_base_example])
@given(data=st.data())
def test_any_life_of_one_aggregate_keeps_the_rules(opening: type[Event], data: st.DataObject) -> None:
    kinds = [event for event in PUBLISHED if event.__module__ == opening.__module__]
    first = data.draw(facts([opening], usual=True))
    check_all(
        [first, *data.draw(st.lists(st.one_of(facts(kinds, usual=True), facts(kinds)), min_size=10, max_size=25))]
    )


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_time_do_no_harm(at: datetime) -> None:
    asked = SurveyInvited(invitation_id="i", metric="nps", scale=10, channel="app")
    answers = [SurveyAnswered(invitation_id="i", score=score) for score in (9, 3)]
    late = ComplaintOpened(complaint_id="p", channel="app", received_at=at)
    check_all([fact(data, at=at) for data in (asked, *answers, late)])
    check_all([fact(asked), fact(answers[0]), fact(answers[1], at=at)])


def test_every_aggregate_has_its_rules() -> None:
    sent_to = {handling.aggregate_of(smallest(event)).state for event in PUBLISHED}
    assert CHECKS.keys() == sent_to
    assert len(OPENINGS) == len(sent_to)
