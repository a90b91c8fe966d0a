"""Messages that may end the process that reads them, found by where processes ended without a word.

Nothing else tells: what a message does to a process leaves no error behind. So the store keeps which messages each
process has in work, and the next owner of the partition takes them in pieces, and those of the piece that ended a
process one by one, until the one is found that ends every process. It dies unread, and the others are stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from consumers.decoding import One, message_of
from domain.errors import Refused
from domain.ports import EventLog, Message, Partition, Unavailable
from domain.values import Value

POISON_AFTER = 3
"""Processes that a message may end, one after the other, with nothing else in work."""
PIECES = 16
"""Into so many pieces is cut what the process that ended may have had in work; one of them ends the next process, and
only that one is then taken message by message."""
PIECES_AT_ONCE = 100
"""Pieces that are taken in one call, so that the caller can go on with others or end."""

Piece = Sequence[One] | Sequence[Message]


class Suspected(Value):
    """Messages before offset `until` may end this process; so many of them are taken at once."""

    until: int
    at_once: int


class Suspects:
    """The messages of each partition that may end this process. It is false when there are none."""

    def __init__(self, log: EventLog, worker: str, in_work: int) -> None:
        """`in_work` is how many messages of a partition this process has in work at most, `worker` its name."""
        self._log = log
        self._worker = worker
        self._in_work = in_work
        self._of: dict[Partition, Suspected] = {}

    def __len__(self) -> int:
        return len(self._of)

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._of

    def begin(self, positions: Mapping[Partition, int]) -> None:
        """This process goes on at these positions: what another had in work there when it ended is suspect."""
        counted = self._log.watch(positions, self._worker, self._in_work) if positions else {}
        known = {p: one for p, one in self._of.items() if p in positions and positions[p] < one.until}
        piece = max(1, self._in_work // PIECES)
        self._of = {p: Suspected(positions[p] + n, piece if n > piece else 1) for p, n in counted.items() if n} | known

    def end(self) -> None:
        """This process ends well, or gives its partitions back."""
        with suppress(Unavailable):  # then the next owner is careful without need
            self._log.unwatch(self._worker)
        self._of.clear()

    def pieces(self, partition: Partition, messages: Piece) -> Iterator[Piece]:
        """What is taken at once of these messages, so many pieces at most."""
        at_once = self._of[partition].at_once
        for first in range(0, len(messages), at_once)[:PIECES_AT_ONCE]:
            yield messages[first : first + at_once]

    def is_poison(self, piece: Piece) -> bool:
        """Keep that this piece is in work now; whether it is one message, alone, that has ended too many processes."""
        first = message_of(piece[0])
        at_once = self._of[first.partition].at_once
        ended = self._log.trying(first.partition, first.offset, self._worker, at_once) - 1
        return at_once == 1 and ended >= POISON_AFTER

    def came_to(self, partition: Partition, position: int) -> None:
        """Messages before this position have ended nothing."""
        if position >= self._of[partition].until:
            del self._of[partition]


class Poison(Refused):
    """Each process that worked on this message ended. Look into the workers' logs before it is replayed."""


def poisoned() -> Poison:
    """Why such a message dies."""
    return Poison(f"{POISON_AFTER} processes ended with only this message in work")
