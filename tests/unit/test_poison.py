"""A message that ends every process that reads it: found by where the processes ended, and set aside unread."""

from dataclasses import replace

import pytest

from consumers.ingest import Decoded, Ingest
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

    def start(self, suspects: int = 10) -> Ingest:
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
            self.work(self.start(batch), batch)
        except Killed:
            return False
        return True


@pytest.mark.parametrize("place", [0, 3, 12, 24])
def test_a_message_that_ends_every_process_is_set_aside_and_the_others_are_stored(place: int) -> None:
    processes = Processes([b""] * place + [POISON] + [b""] * (24 - place))
    killed = 0
    while not processes.run():
        killed += 1
        assert killed < 9
    assert killed <= 2 + 3
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


def test_suspects_are_taken_one_by_one_until_the_batch_of_the_dead_is_through() -> None:
    processes = Processes([b""] * 25)
    processes.start()
    processes.work(processes.start())
    assert processes.log.batches == 10 + 2


def test_nothing_is_decoded_ahead_while_there_are_suspects() -> None:
    processes = Processes([POISON])
    processes.start()
    suspicious = processes.start()
    assert suspicious.read({SURVEYS: processes.messages}) == {SURVEYS: processes.messages}
    assert suspicious.read({replace(SURVEYS, number=1): processes.messages})
