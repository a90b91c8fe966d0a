"""Long queues: what they cost is bounded, and what becomes of their messages is what the simple way says."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import deciding, parking
from consumers.decoding import Decoded
from consumers.ingest import Ingest
from consumers.parking import Left, Waiting, apply
from consumers.streams import Streams
from domain import handling
from domain.account import TransactionPosted, TransactionReversed
from domain.complaint import ComplaintClosed, ComplaintEscalated, ComplaintOpened, ComplaintResolved
from domain.contact import ContactEnded, ContactQueued, ContactStarted, ContactTransferred
from domain.errors import NotYet
from domain.ports import Message
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event, Money
from infra.errors import Unreadable
from infra.memory.log import MemoryLog
from tests.support.builders import NOON, SURVEYS, fact, message

Said = tuple[str, Event]


def reason(state: object | None, one: Waiting) -> str | None:
    """What holds a message in this state."""
    try:
        apply(state, one)
    except NotYet as error:
        return error.rule
    return None


def simply(
    before: object | None, state: object, queue: Sequence[Waiting], seen: Callable[[bytes], bool]
) -> list[Left] | None:
    """What leaves a queue, said in the simplest way: again and again the first that can."""
    left: list[Left] = []
    told = {one.identity for one in queue if seen(one.identity)}
    waiting, moved = list(queue), True
    while moved:
        moved = False
        for one in waiting:
            try:
                after = apply(state, one)
            except NotYet:
                continue
            if isinstance(after, tuple):
                state = state if one.identity in told else after[0]
                after = (state, after[1])
                told.add(one.identity)
            left.append((one, after))
            waiting.remove(one)
            moved = True
            break
    held = waiting and waiting[0] is queue[0] and reason(state, queue[0]) == reason(before, queue[0])
    return None if held else left


class Bench:
    """One worker on a log in memory, which reads what it is told."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.now = NOON
        self.said: list[Said] = []
        self.ingest = Ingest(self.log, self.decode, lambda: self.now)
        self.ingest.claim([SURVEYS])
        self.decoded = 0

    def decode(self, one: Message) -> Decoded:
        self.decoded += 1
        event_id, event = self.said[int(one.value or b"")]
        if event_id == "unreadable":
            raise Unreadable("bad-json", "the value is not JSON")
        made = fact(event, event_id)
        return Decoded(one, made, event_id.encode(), repr(event).encode(), handling.stream_of(made))

    def take(self, *said: Said) -> None:
        first = len(self.said)
        self.said += said
        self.ingest.take({SURVEYS: [message(n, b"%d" % n) for n in range(first, len(self.said))]})

    def settle(self, after: timedelta = timedelta(0)) -> None:
        """Let some time pass, and retry until nothing leaves its queue any more."""
        self.now += after
        while self.ingest.retry_parked():
            pass

    def ended(self) -> dict[str, object]:
        """All that is left behind; dead letters and queues by the place of their messages."""
        streams: dict[str, list[Event]] = {}
        for event in self.log.events:
            streams.setdefault(event.originator_id, []).append(event.event)
        return {
            "streams": streams,
            "dead": sorted((one.message.offset, one.rule) for one in self.log.dead),
            "parked": [(one.stream, one.message.offset) for one in self.log.parked.values()],
            "counts": self.log.counts,
        }

    def balanced(self) -> bool:
        """Everything that was read has exactly one outcome, and the counts agree with what is stored."""
        counts = self.log.counts.get(SURVEYS, {"parked": 0, "dead": 0})
        stored = (counts["parked"], counts["dead"]) == (len(self.log.parked), len(self.log.dead))
        return stored and sum(counts.values()) == self.log.positions[SURVEYS]


def invited(of: str = "i") -> SurveyInvited:
    return SurveyInvited(invitation_id=of, metric="csat", scale=5, channel="app")


def posted(transaction: str) -> TransactionPosted:
    return TransactionPosted(
        account_id="a",
        transaction_id=transaction,
        booked_on=NOON.date(),
        amount=Money(minor=100, currency="EUR"),
    )


def reversed_(transaction: str) -> TransactionReversed:
    return TransactionReversed(account_id="a", transaction_id=transaction, booked_on=NOON.date())


SURVEY_EVENTS = [
    *(invited(of) for of in "ij"),
    *(SurveyAnswered(invitation_id=of, score=score) for score in (1, 2, 9) for of in "ij"),
]
CASE_EVENTS = [
    *(ComplaintOpened(complaint_id=of, channel="app") for of in "kl"),
    *(ComplaintEscalated(complaint_id=of, reason="n") for of in "kl"),
    *(ComplaintResolved(complaint_id=of, outcome="rejected", reasons="No.", onward_rights="Ombudsman.") for of in "kl"),
    *(ComplaintClosed(complaint_id=of) for of in "kl"),
]
ACCOUNT_EVENTS = [*(posted(one) for one in "tuv"), *(reversed_(one) for one in "tuv")]
EVENTS = [*SURVEY_EVENTS, *CASE_EVENTS, *ACCOUNT_EVENTS]
IDS = [*(f"e{n}" for n in range(12)), "unreadable"]
BATCH = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(EVENTS)), min_size=1, max_size=6)
# A refused message dies each time it is sent, so these are all acceptable.
ANSWERS = st.lists(st.lists(st.sampled_from(SURVEY_EVENTS[:-2]), min_size=1, max_size=6), max_size=8)
PAUSES = st.sampled_from([timedelta(0), timedelta(seconds=6), timedelta(hours=25)])


@contextmanager
def simple_way() -> Iterator[None]:
    """Whole queues are known, and asked the simple way."""

    def whole(
        before: object, state: object, behind: parking.Behind, seen: Callable[[bytes], bool], _most: int
    ) -> list[Left] | None:
        return simply(before, state, behind(0, 1_000_000), seen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deciding, "let_through", whole)
        patch.setattr(deciding, "WINDOW", 1_000_000)
        patch.setattr(Streams.fetch, "__defaults__", (1_000_000,))
        yield


@contextmanager
def narrow(window: int, page: int, deep: int, room: int) -> Iterator[None]:
    """Hardly anything of a queue is known."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            *((of, "WINDOW", window) for of in (deciding, parking)),
            *((of, "PAGE", page) for of in (deciding, parking)),
            *((of, "DEEP", deep) for of in (deciding, parking)),
            (deciding, "ROOM", room),
        ):
            patch.setattr(module, name, value)
        patch.setattr(Streams.fetch, "__defaults__", (window,))
        yield


def run(batches: Sequence[tuple[Sequence[Said], timedelta]]) -> Bench:
    bench = Bench()
    for said, pause in batches:
        bench.take(*said)
        bench.settle(pause)
    return bench


@given(st.lists(st.tuples(BATCH, PAUSES), max_size=8))
def test_any_sequence_ends_as_the_simple_way_says(batches: list[tuple[list[Said], timedelta]]) -> None:
    bench = run(batches)
    with simple_way():
        expected = run(batches)
    assert bench.ended() == expected.ended()
    assert bench.balanced()


@given(ANSWERS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 9))
def test_however_little_of_a_queue_is_known_it_ends_as_the_simple_way_says(
    answers: list[list[Event]], window: int, page: int, deep: int, room: int
) -> None:
    said = [([(repr(one), one) for one in batch], timedelta(0)) for batch in answers]
    said.append(([(repr(one), one) for one in (invited("i"), invited("j"))], timedelta(seconds=6)))
    with narrow(window, page, deep, room):
        bench = run(said)
    with simple_way():
        expected = run(said)
    assert bench.ended() == expected.ended()
    assert bench.log.parked == {}
    assert bench.balanced()


@given(st.lists(BATCH, max_size=8), st.integers(1, 4), st.integers(1, 6))
def test_however_little_is_known_nothing_is_lost_and_all_leave_in_the_end(
    batches: list[list[Said]], window: int, deep: int
) -> None:
    with narrow(window, window, deep, deep):
        bench = run([(batch, timedelta(seconds=6)) for batch in batches])
        assert bench.balanced()
        bench.settle(timedelta(hours=25))
    assert bench.log.parked == {}
    assert bench.balanced()


def test_a_long_queue_costs_a_message_no_more_than_a_short_one() -> None:
    bench = Bench()
    bench.take(("r", reversed_("t")), *((f"p{n}", posted(f"p{n}")) for n in range(300)))
    assert len(bench.log.parked) == 301
    bench.decoded = 0
    bench.take(("q", posted("q")))
    assert bench.decoded <= 1 + parking.WINDOW
    assert len(bench.log.parked) == 302
    bench.take(("t", posted("t")))
    assert bench.log.parked == {}
    assert bench.balanced()


def test_what_lies_deep_in_a_queue_is_found_when_the_oldest_waits_for_something_else() -> None:
    bench = Bench()
    opened, escalated, resolved, closed = (CASE_EVENTS[n] for n in (0, 2, 4, 6))
    bench.take(("c", closed), *((f"x{n}", escalated) for n in range(100)), ("r", resolved))
    bench.take(("o", opened))
    assert bench.log.parked == {}
    assert [e.name for e in bench.log.events][-2:] == ["complaint.resolved", "complaint.closed"]


QUEUED = ContactQueued(contact_id="k", queue="cards", channel="phone")
STARTED = ContactStarted(contact_id="k")
ENDED = ContactEnded(contact_id="k", resolved=True)


@pytest.mark.parametrize("order", list(permutations([QUEUED, STARTED, ENDED])))
@pytest.mark.parametrize("at_once", [1, 3])
def test_three_messages_heal_in_whatever_order_they_come(order: Sequence[Event], at_once: int) -> None:
    bench = Bench()
    said = [(str(n), event) for n, event in enumerate(order)]
    for first in range(0, 3, at_once):
        bench.take(*said[first : first + at_once])
    assert [one.event for one in bench.log.events] == [QUEUED, STARTED, ENDED]
    assert bench.log.parked == {}
    assert bench.balanced()


def test_what_the_oldest_does_not_wait_for_does_not_overtake_it() -> None:
    bench = Bench()
    away = ContactTransferred(contact_id="k", to_queue="loans")
    bench.take(("e", ENDED), ("q", QUEUED), ("t", away))
    assert [one.event for one in bench.log.events] == [QUEUED]
    bench.take(("s", STARTED))
    assert [one.event for one in bench.log.events] == [QUEUED, STARTED, ENDED]
    assert [(one.message.offset, one.rule) for one in bench.log.dead] == [(2, "contact-is-over")]


def test_a_very_long_queue_leaves_in_order_a_part_at_a_time() -> None:
    bench = Bench()
    scores = [n % 5 + 1 for n in range(parking.DEEP + 700)]
    for first in range(0, len(scores), 400):
        batch = enumerate(scores[first : first + 400], first)
        bench.take(*((f"a{n}", SurveyAnswered(invitation_id="i", score=score)) for n, score in batch))
    bench.take(("i", invited()), ("late", SurveyAnswered(invitation_id="i", score=3)))
    assert 1 < len(bench.log.parked) <= 700 + 1
    bench.settle()
    told = [e.event.score for e in bench.log.events if isinstance(e.event, SurveyAnswered)]
    assert told == [score for n, score in enumerate([*scores, 3]) if [0, *scores, 3][n] != score]
    assert bench.log.parked == {}
    assert bench.balanced()


def test_only_the_oldest_of_a_queue_has_a_next_try() -> None:
    bench = Bench()
    bench.take(*((f"a{n}", SurveyAnswered(invitation_id="i", score=n)) for n in (1, 2, 3)))
    assert [one.next_try_at is None for one in bench.log.parked.values()] == [False, True, True]
