"""No sequence of facts crashes a decision, and the fold of what was decided is the state that decided it."""

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from domain import handling, registry
from domain.account import TransactionPosted, TransactionReversed
from domain.complaint import Complaint
from domain.errors import NotYet, Refused
from domain.survey import Survey, lowest
from domain.values import Event, Money, Recorded
from tests.support.builders import NOON, fact

PUBLISHED = [r.event for r in registry.all_registrations() if r.published]
FIXED = {
    "contact_id": "k", "complaint_id": "p", "invitation_id": "i", "account_id": "a", "queue": "q", "to_queue": "r",
    "channel": "app", "metric": "csat", "scale": 5, "purpose": "news", "status": "granted", "manager_id": "m",
    "waiting_for": "customer", "actor": "h", "reason": "r", "reasons": "r", "owner": "h", "transaction_id": "t",
    "booked_on": date(2026, 3, 2), "amount": Money(minor=1, currency="EUR"),
}  # fmt: skip


@st.composite
def facts(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(PUBLISHED))
    values = {name: FIXED[name] for name, field in kind.model_fields.items() if field.is_required() and name in FIXED}
    if "score" in kind.model_fields:
        values["score"] = draw(st.integers(0, 10))
    if "resolved" in kind.model_fields:
        values["resolved"] = draw(st.booleans())
    if "outcome" in kind.model_fields:
        values["outcome"] = draw(st.sampled_from(["upheld", "rejected"]))
        values["onward_rights"] = draw(st.sampled_from([None, "Ombudsman."]))
    if kind in (TransactionPosted, TransactionReversed):
        values["transaction_id"] = draw(st.sampled_from(["t", "u"]))
    return kind(**values)


@settings(deadline=None)
@given(st.lists(st.tuples(facts(), st.integers(0, 20), st.sampled_from(["c1", "c2"])), max_size=40))
def test_any_sequence_is_decided_or_refused_and_folds_to_the_same_state(
    sequence: list[tuple[Event, int, str]],
) -> None:
    states: dict[str, object] = {}
    streams: dict[str, list[Recorded]] = {}
    for number, (data, days, customer) in enumerate(sequence):
        made = fact(data, f"e{number}", customer=customer, at=NOON + timedelta(days=days))
        name = handling.stream_of(made)
        try:
            state, events = handling.handle(states.get(name), made)
        except (NotYet, Refused):
            continue
        if events:
            states[name] = state
        stream = streams.setdefault(name, [])
        for event in events:
            stream.append(Recorded(name, len(stream) + 1, event, made.meta, registry.of(event).name))
    for stream_name, state in states.items():
        assert handling.fold(streams[stream_name]) == state
        kind, dumped = handling.dump_state(state)
        assert handling.load_state(kind, dumped) == state
        if isinstance(state, Complaint):
            assert (state.status == "resolved") <= (state.outcome is not None)
        if isinstance(state, Survey) and state.score is not None:
            assert lowest(state.metric) <= state.score <= state.scale
