"""The generated bank: exact, repeatable, and what it says about its own messages is what the ingest makes of them."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from consumers.decoding import Decoded
from consumers.ingest import Ingest
from consumers.outcome import Outcome
from domain import handling
from domain.complaint import Complaint
from domain.contact import Contact
from domain.ports import Message, Partition
from domain.values import Recorded
from examples.bank import Bank
from infra.kafka import codec
from infra.memory.log import MemoryLog

END = datetime(2026, 3, 2, 12, 40, tzinfo=UTC)


def decode(message: Message) -> Decoded:
    fact = codec.decode(message, END)
    return Decoded(message, fact, codec.identity(fact.meta), codec.content(fact), handling.stream_of(fact))


def ingested(bank: Bank, events: int) -> tuple[MemoryLog, Counter[Outcome]]:
    """All messages through the ingest, in batches of 500, one partition for each topic."""
    log = MemoryLog()
    ingest = Ingest(log, decode, lambda: END)
    offsets: Counter[str] = Counter()
    outcomes: Counter[Outcome] = Counter()
    messages = list(bank.messages(events))
    topics = {one.topic: Partition(one.topic, "made", 0) for one in messages}
    ingest.claim(list(topics.values()))
    for start in range(0, len(messages), 500):
        polled = defaultdict(list)
        for one in messages[start : start + 500]:
            partition = topics[one.topic]
            polled[partition].append(Message(partition, offsets[one.topic], 0, one.key.encode(), one.value))
            offsets[one.topic] += 1
        outcomes.update(ingest.take(ingest.read(polled)))
    return log, outcomes


@pytest.mark.parametrize("events", [0, 1, 17, 100, 3_000])
@pytest.mark.parametrize("defects", [True, False])
def test_it_publishes_exactly_as_many_messages_as_asked(events: int, defects: bool) -> None:
    bank = Bank(1, end=END, defects=defects)
    assert len(list(bank.messages(events))) == bank.expected.published == events


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    made = partial(Bank, end=END)
    assert list(made(1).messages(2_000)) == list(made(1).messages(2_000))
    assert list(made(1).messages(2_000)) != list(made(2).messages(2_000))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_outcomes_are_those_it_expects(seed: int) -> None:
    bank = Bank(seed, end=END)
    log, outcomes = ingested(bank, 6_000)
    expected = bank.expected
    assert outcomes == {
        Outcome.APPENDED: expected.appended,
        Outcome.DUPLICATE: expected.duplicates,
        Outcome.PARKED: expected.never_healing,
        Outcome.DEAD: expected.dead,
    }
    rules = Counter(letter.rule for letter in log.dead)
    refused = rules["same-id-other-content"] + rules["complaint-is-over"]
    assert (refused, rules.total() - refused) == (expected.refused, expected.malformed)
    assert min(expected.healing, expected.late, expected.refused, expected.never_healing) > 0


def test_without_defects_everything_is_appended() -> None:
    _, outcomes = ingested(Bank(5, end=END, defects=False), 3_000)
    assert {outcome: n for outcome, n in outcomes.items() if n} == {Outcome.APPENDED: 3_000}


def test_people_wait_at_the_end_and_complaints_have_gone_wrong() -> None:
    log, _ = ingested(Bank(7, end=END), 6_000)
    streams: dict[str, list[Recorded]] = defaultdict(list)
    for event in log.events:
        streams[event.originator_id].append(event)
    states = [handling.fold(events) for events in streams.values()]
    contacts = [state for state in states if isinstance(state, Contact)]
    complaints = [state for state in states if isinstance(state, Complaint)]
    waiting = [one for one in contacts if one.status == "waiting"]
    assert len(waiting) >= 10
    assert all(one.queued_at > END - timedelta(hours=4) for one in waiting)
    assert {one.status for one in complaints} >= {"open", "closed", "withdrawn"}
    assert any(one.reopened for one in complaints)
    assert any(one.outcome == "rejected" for one in complaints)
    assert any(one.status == "open" and END - one.opened_at > timedelta(weeks=8) for one in complaints)
