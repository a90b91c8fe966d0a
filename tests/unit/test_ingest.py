"""What becomes of messages: four outcomes, sequenced parking, and a batch that is written whole or not at all."""

from datetime import datetime, timedelta

import pytest

from consumers.decoding import Decoded
from consumers.ingest import Ingest
from consumers.outcome import Outcome
from domain import handling
from domain.ports import Fenced, Message
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event
from infra.errors import Unreadable
from infra.memory.log import MemoryLog
from tests.support.builders import NOON, SURVEYS, fact, message

INVITED = SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app")
OTHER = SurveyInvited(invitation_id="j", metric="csat", scale=5, channel="app")


class Bench:
    """One worker on a log in memory; messages are named facts."""

    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log = log or MemoryLog()
        self.now = NOON
        self.facts: dict[bytes, tuple[str, Event]] = {}
        self.ingest = Ingest(self.log, self.decode, self.clock)
        self.ingest.claim([SURVEYS])

    def clock(self) -> datetime:
        return self.now

    def decode(self, one: Message) -> Decoded:
        known = self.facts.get(one.value or b"")
        if known is None:
            raise Unreadable("bad-json", "the value is not JSON")
        event_id, data = known
        made = fact(data, event_id)
        return Decoded(one, made, event_id.encode(), repr(data).encode(), handling.stream_of(made))

    def take(self, *facts: tuple[str, Event] | bytes) -> dict[Outcome, int]:
        offset = self.ingest.positions[SURVEYS]
        messages = []
        for one in facts:
            value = one if isinstance(one, bytes) else f"{one[0]}{one[1]!r}".encode()
            if not isinstance(one, bytes):
                self.facts[value] = one
            messages.append(message(offset, value))
            offset += 1
        return dict(self.ingest.take(self.ingest.read({SURVEYS: messages})))

    def names(self) -> list[str]:
        return [event.name for event in self.log.events]

    def balanced(self) -> bool:
        """Everything that was read has exactly one outcome, and the counts agree with what is stored."""
        counts = self.log.counts[SURVEYS]
        stored = (counts["parked"], counts["dead"]) == (len(self.log.parked), len(self.log.dead))
        return stored and sum(counts.values()) == self.log.positions[SURVEYS]


def answer(score: int, of: str = "i") -> SurveyAnswered:
    return SurveyAnswered(invitation_id=of, score=score)


def test_good_repeated_early_and_bad_messages_have_one_outcome_each() -> None:
    bench = Bench()
    outcomes = bench.take(("1", INVITED), ("1", INVITED), ("2", answer(3, "x")), b"{", ("3", answer(9)))
    assert outcomes == {Outcome.APPENDED: 1, Outcome.DUPLICATE: 1, Outcome.PARKED: 1, Outcome.DEAD: 2}
    assert [letter.rule for letter in bench.log.dead] == ["bad-json", "score-outside-scale"]
    assert bench.balanced()


def test_the_same_id_with_other_content_is_refused() -> None:
    bench = Bench()
    bench.take(("1", INVITED))
    assert bench.take(("1", OTHER)) == {Outcome.DEAD: 1}
    assert bench.log.dead[0].rule == "same-id-other-content"


def test_an_answer_before_its_invitation_heals_when_the_invitation_comes() -> None:
    bench = Bench()
    bench.take(("2", answer(4)))
    assert bench.log.events == []
    bench.take(("1", INVITED))
    assert bench.names() == ["survey.invited", "survey.answered", "survey.scored"]
    assert bench.log.parked == {}
    assert bench.balanced()


def test_both_in_one_batch_heal_too() -> None:
    bench = Bench()
    assert bench.take(("2", answer(4)), ("1", INVITED)) == {Outcome.PARKED: 0, Outcome.APPENDED: 2}
    assert bench.names() == ["survey.invited", "survey.answered", "survey.scored"]
    assert bench.balanced()


def test_what_waits_keeps_its_order_and_other_streams_pass() -> None:
    bench = Bench()
    bench.take(("2", answer(4)), ("3", answer(2)), ("4", OTHER))
    assert bench.names() == ["survey.invited"]
    assert [bench.log.parked[seq].message.offset for seq in sorted(bench.log.parked)] == [0, 1]
    bench.take(("1", INVITED))
    scores = [event.event.score for event in bench.log.events if event.name == "survey.answered"]  # type: ignore[attr-defined]
    assert scores == [4, 2]
    assert bench.balanced()


def test_a_repeated_parked_message_is_a_duplicate() -> None:
    bench = Bench()
    bench.take(("2", answer(4)))
    assert bench.take(("2", answer(4))) == {Outcome.DUPLICATE: 1}
    assert bench.balanced()


def test_a_parked_message_is_tried_again_later_and_expires_with_its_story() -> None:
    bench = Bench()
    bench.take(("2", answer(4)))
    assert bench.ingest.retry_parked() == {}
    bench.now += timedelta(seconds=5)
    bench.ingest.retry_parked()
    (parked,) = bench.log.parked.values()
    assert (parked.tries, parked.next_try_at) == (1, bench.now + timedelta(seconds=10))
    bench.now += timedelta(hours=24)
    bench.ingest.retry_parked()
    assert bench.log.parked == {}
    (letter,) = bench.log.dead
    assert letter.rule == "expired"
    assert "survey-not-invited-yet" in letter.detail
    assert bench.balanced()


def test_a_worker_that_lost_its_partition_writes_nothing() -> None:
    first = Bench()
    second = Bench(first.log)
    second.take(("1", INVITED))
    with pytest.raises(Fenced):
        first.take(("1", INVITED))
    assert first.names() == ["survey.invited"]
    assert first.ingest.claim([SURVEYS]) == {SURVEYS: 1}


def test_a_worker_that_starts_again_goes_on_from_the_stored_states() -> None:
    first = Bench()
    first.take(("1", INVITED), ("2", answer(4)))
    second = Bench(first.log)
    assert second.take(("3", answer(2))) == {Outcome.APPENDED: 1}
    assert [event.originator_version for event in first.log.events] == [1, 2, 3, 4, 5]


def test_an_old_stream_is_loaded_from_its_snapshot() -> None:
    first = Bench()
    first.take(("1", INVITED))
    first.take(*((f"a{n}", answer(n % 5 + 1)) for n in range(120)))
    (snapshot,) = first.log.snapshots.values()
    loaded = first.log.load([snapshot.stream])[snapshot.stream]
    assert len(loaded.events) == loaded.version - snapshot.version
    whole = handling.fold(first.log.events)
    assert handling.fold(loaded.events, handling.load_state(snapshot.kind, snapshot.state)) == whole
