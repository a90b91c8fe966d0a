"""A message that ends every process that reads it: found by where the processes ended, and set aside unread."""

import pytest
from msgspec.structs import replace

from consumers.decoding import Decoded
from consumers.ingest import Ingest
from domain import handling
from domain.ports import Batch, Message
from domain.survey import SurveyInvited
from domain.values import Position
from infra.memory.log import MemoryLog
from tests.support.builders import NOON, SURVEYS, fact, message

POISON = b"poison"


class Killed(BaseException):
    """The process is no more."""


class CountingLog(MemoryLog):
    """A log that counts what is written."""

    batches = 0

    def append(self, batch: Batch) -> Position:
        self.batches += 1
        return super().append(batch)


class Processes:
    """Processes on one log, one after the other; a message with the value POISON ends them."""

    def __init__(self, values: list[bytes]) -> None:
        self.log = CountingLog()
        self.messages = [message(offset, value) for offset, value in enumerate(values)]
        self.ended = 0

    def start(self, suspects: int = 64) -> Ingest:
        self.ended += 1
        made = Ingest(self.log, self.decode, lambda: NOON, suspects=suspects, worker=f"process-{self.ended}")
        made.claim([SURVEYS])
        return made

    def decode(self, one: Message) -> Decoded:
        if one.value == POISON:
            raise Killed
        made = fact(SurveyInvited(invitation_id=f"i{one.offset}", metric="csat", scale=5, channel="app"))
        return Decoded(one, made, b"%d" % one.offset, b"", handling.stream_of(made))

    def work(self, ingest: Ingest, batch: int = 10) -> None:
        """Read all that is there, in batches."""
        while unread := self.messages[ingest.positions[SURVEYS] :][:batch]:
            ingest.take({SURVEYS: unread})

    def run(self, batch: int = 10) -> bool:
        """One process; false when it was killed."""
        try:
            self.work(self.start(), batch)
        except Killed:
            return False
        return True


@pytest.mark.parametrize("place", [0, 3, 12, 24])
def test_a_message_that_ends_every_process_is_set_aside_and_the_others_are_stored(place: int) -> None:
    processes = Processes([b""] * place + [POISON] + [b""] * (24 - place))
    killed = 0
    while not processes.run():
        killed += 1
        assert killed < 10
    # The batch before it was stored, the batch, a piece of it, and the message alone.
    assert killed <= 1 + 1 + 1 + 3
    (letter,) = processes.log.dead
    assert (letter.rule, letter.message.offset, letter.message.value) == ("poison", place, POISON)
    assert len(processes.log.events) == 24
    assert processes.log.positions[SURVEYS] == 25
    assert processes.log.counts[SURVEYS] == {"appended": 24, "duplicate": 0, "parked": 0, "dead": 1}


def test_two_of_them_are_both_found() -> None:
    processes = Processes([b"", POISON, b"", POISON, b""])
    killed = 0
    while not processes.run():
        killed += 1
        assert killed < 12
    assert [letter.message.offset for letter in processes.log.dead] == [1, 3]


def test_a_process_that_ends_cleanly_makes_nobody_suspicious() -> None:
    processes = Processes([b""] * 5)
    for _ in range(5):
        processes.start().release()
    processes.start().take({SURVEYS: processes.messages})
    assert processes.log.batches == 1


def test_after_an_end_what_was_in_work_is_taken_in_pieces_and_after_another_one_by_one() -> None:
    processes = Processes([b""] * 200)
    processes.start()
    processes.work(processes.start(), 200)
    assert processes.log.batches == 200 // 4

    processes = Processes([b""] * 9 + [POISON] + [b""] * 190)
    while processes.log.batches == 0:
        processes.run(200)
    assert processes.log.positions[SURVEYS] == 8
    with pytest.raises(Killed):
        processes.work(processes.start(), 200)
    assert processes.log.batches == 2 + 1


def test_a_partition_that_was_not_reached_before_the_end_is_not_taken_one_by_one() -> None:
    processes = Processes([b""] * 64)
    for _ in range(5):
        processes.start()
    processes.work(processes.start(), 64)
    assert processes.log.batches == 64 // 4


def test_who_claims_again_after_an_error_stays_careful() -> None:
    processes = Processes([b""] * 64)
    processes.start()
    suspicious = processes.start()
    suspicious.take({SURVEYS: processes.messages[:4]})
    suspicious.claim([SURVEYS])
    processes.work(suspicious, 64)
    assert processes.log.batches == 64 // 4


def test_nothing_is_decoded_ahead_while_there_are_suspects() -> None:
    processes = Processes([POISON])
    processes.start()
    suspicious = processes.start()
    assert suspicious.read({SURVEYS: processes.messages}) == {SURVEYS: processes.messages}
    assert suspicious.read({replace(SURVEYS, number=1): processes.messages})
