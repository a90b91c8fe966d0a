"""A stream whose messages come through two partitions, as after a topic got more: each worker knows its own half."""

from collections.abc import Collection

import pytest
from msgspec.structs import replace

from consumers.decoding import Decoded
from consumers.ingest import Ingest
from consumers.outcome import Outcome
from domain import handling
from domain.contact import ContactAbandoned, ContactEnded, ContactQueued, ContactStarted, ContactTransferred
from domain.ports import LoadedStream, Message, Partition
from domain.values import Event
from infra.memory.log import MemoryLog
from tests.support.builders import NOON, SURVEYS, fact

QUEUED = ContactQueued(contact_id="k", queue="cards", channel="phone")
STARTED = ContactStarted(contact_id="k", agent_id="a-1")
ENDED = ContactEnded(contact_id="k", resolved=True)
BACK = ContactTransferred(contact_id="k", to_queue="loans")
ABANDONED = ContactAbandoned(contact_id="k")


class CountingLog(MemoryLog):
    """Counts how often streams were loaded."""

    loads = 0

    def load(self, streams: Collection[str], window: int = 20) -> dict[str, LoadedStream]:
        self.loads += 1
        return super().load(streams, window)


class Worker:
    """The owner of one partition, on a log that others write too."""

    def __init__(self, log: MemoryLog, number: int) -> None:
        self.log, self.partition = log, replace(SURVEYS, number=number)
        self.facts: dict[tuple[Partition, int], tuple[str, Event]] = {}
        self.ingest = Ingest(log, self.decode, lambda: NOON)
        self.ingest.claim([self.partition])

    def decode(self, one: Message) -> Decoded:
        event_id, event = self.facts[one.partition, one.offset]
        made = fact(event, event_id)
        return Decoded(one, made, event_id.encode(), repr(event).encode(), handling.stream_of(made))

    def take(self, *events: Event) -> dict[Outcome, int]:
        first = self.ingest.positions[self.partition]
        for offset, event in enumerate(events, first):
            self.facts[self.partition, offset] = (f"{self.partition.number}-{offset}", event)
        messages = [Message(self.partition, first + n, 0, None, b"") for n in range(len(events))]
        return dict(self.ingest.take({self.partition: messages}))


@pytest.mark.parametrize(
    ("remembered", "meanwhile", "then"),
    [
        pytest.param([QUEUED], STARTED, ENDED, id="else it would be parked"),
        pytest.param([QUEUED, STARTED], BACK, ABANDONED, id="else it would be a dead letter"),
        pytest.param([QUEUED, STARTED], BACK, STARTED, id="else it would count as a duplicate"),
        pytest.param([QUEUED, STARTED, BACK], STARTED, BACK, id="the same, from the queue"),
    ],
)
def test_no_message_is_judged_by_what_was_true_before(remembered: list[Event], meanwhile: Event, then: Event) -> None:
    log = MemoryLog()
    one, other = Worker(log, 0), Worker(log, 1)
    one.take(*remembered)
    assert other.take(meanwhile) == {Outcome.APPENDED: 1}
    assert one.take(then) == {Outcome.APPENDED: 1}
    assert [e.event for e in log.events] == [*remembered, meanwhile, then]
    assert [e.originator_version for e in log.events] == list(range(1, len(remembered) + 3))


def test_what_is_remembered_rightly_is_not_loaded_again() -> None:
    log = CountingLog()
    worker = Worker(log, 0)
    worker.take(QUEUED, STARTED)
    assert worker.take(STARTED, ABANDONED, BACK, BACK) == {
        Outcome.APPENDED: 1,
        Outcome.DUPLICATE: 2,
        Outcome.DEAD: 1,
    }
    assert log.loads == 1
