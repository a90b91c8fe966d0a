"""From messages to one transaction: decode, look for duplicates, decide, and hand the whole batch to the event store.

No Kafka and no SQL here: `Ingest` is driven with messages and an `EventLog`, one batch at a time. The steps of a batch
are in modules of their own: `decoding`, `streams` (what is remembered between batches), and `deciding`, with `parking`
for what cannot apply yet. `poison` is for the worst case: a message that ends the process.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import uuid1

from consumers import decoding
from consumers.deciding import Deciding
from consumers.decoding import Decode, Fetched, message_of
from consumers.outcome import Outcomes
from consumers.poison import Piece, Suspects, poisoned
from consumers.streams import Streams
from domain.ports import Conflict, EventLog, Message, Partition
from infra.failpoints import reach

ATTEMPTS = 3


class Ingest:
    """Decides batches of messages and stores them. Not thread-safe: one thread drives it."""

    def __init__(
        self,
        log: EventLog,
        decode: Decode,
        clock: Callable[[], datetime],
        *,
        park_for: timedelta = timedelta(hours=24),
        cached_streams: int = 50_000,
        suspects: int = 2000,
        worker: str = "",
    ) -> None:
        """`suspects` is how many messages of a partition a process has in work at most, `worker` its name."""
        self._log = log
        self._decode = decode
        self._clock = clock
        self._park_for = park_for
        self._streams = Streams(log, decode, cached_streams)
        self._suspects = Suspects(log, worker or str(uuid1()), suspects)
        self.positions: dict[Partition, int] = {}
        self._erasures = log.erasures()

    def claim(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Become the owner of these partitions: their next offsets, from the event store."""
        claimed = self._log.claim(partitions)
        self._streams.forget_all()  # also what a batch that failed has left in them
        self.positions.update(claimed)
        self._suspects.begin(claimed)
        return claimed

    def moved(self, positions: Mapping[Partition, int]) -> bool:
        """Whether one of these positions is another in the store."""
        return self._log.claim(list(positions)) != positions

    def release(self) -> None:
        """Forget all partitions and streams: somebody else may write them from now on."""
        if self.positions:
            self._suspects.end()
        self.positions.clear()
        self._streams.forget_all()

    def read(self, polled: Mapping[Partition, Sequence[Message]]) -> Fetched:
        """Decode the messages of one batch. It needs no state, so any thread may do it ahead of time.

        While there are suspects nothing is: what ends the process must not be blamed on the one that is in work.
        """
        if self._suspects:
            return polled
        return {partition: decoding.read(self._decode, messages) for partition, messages in polled.items()}

    def take(self, batch: Fetched) -> Outcomes:
        """Store one batch: for each partition the messages from its position on, in order.

        Where there are suspects not all may be taken; the positions tell. Raises Fenced when a partition has another
        owner, Unavailable when the store is away: claim again, and go on from the positions that it returns.
        """
        if not self._suspects:
            return self._take(batch)
        outcomes = Outcomes()
        if unsuspected := {p: messages for p, messages in batch.items() if p not in self._suspects}:
            outcomes.update(self._take(unsuspected))
        for partition in [p for p in batch if p in self._suspects]:
            for piece in self._suspects.pieces(partition, batch[partition]):
                outcomes.update(self._take_piece(piece))
            self._suspects.came_to(partition, self.positions[partition])
        return outcomes

    def is_partial(self, batch: Fetched) -> bool:
        """Whether not all of a batch that was taken is stored yet."""
        return any(self.positions[p] <= message_of(messages[-1]).offset for p, messages in batch.items())

    def retry_parked(self, limit: int = 200) -> Outcomes:
        """Try the parked messages whose time has come, and let those that have expired die: so many streams at most.

        The outcomes are empty when nothing left its queue; else there may be more to do at once.
        """
        now = self._clock()
        streams = self._log.due_parked(list(self.positions), now, limit)
        return self._store(lambda: self._deciding(now).parked(streams)) if streams else Outcomes()

    def _take(self, batch: Fetched) -> Outcomes:
        read = {partition: decoding.read(self._decode, messages) for partition, messages in batch.items()}
        return self._store(lambda: self._deciding(self._clock()).messages(read))

    def _take_piece(self, piece: Piece) -> Outcomes:
        first = message_of(piece[0])
        if self._suspects.is_poison(piece):
            return self._store(lambda: self._deciding(self._clock()).unread(first, poisoned()))
        return self._take({first.partition: piece})

    def _deciding(self, now: datetime) -> Deciding:
        return Deciding(self._log, self._streams, self.positions, now, self._park_for)

    def _store(self, decide: Callable[[], Deciding]) -> Outcomes:
        for attempt in range(ATTEMPTS):
            try:
                decided = decide()
                self._streams.check(decided.doubtful)
                reach("decided")
                self._log.append(decided.batch)
            except Conflict:
                # Another process wrote the same stream or the same id: what we remember is old.
                self._streams.forget_all()
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                self._remember(decided)
                return decided.outcomes
        raise AssertionError("unreachable")

    def _remember(self, decided: Deciding) -> None:
        for move in decided.batch.moves:
            if move.next_offset is not None:
                self.positions[move.partition] = move.next_offset
        self._streams.forget(decided.forget)
        self._streams.forget_oldest()
        if (erasures := self._log.erasures()) != self._erasures:
            # Somebody is forgotten: what is remembered of them must not stay.
            self._streams.forget_all()
            self._erasures = erasures
