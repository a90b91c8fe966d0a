"""From messages to one transaction: decode, look for duplicates, decide, and hand the whole batch to the event store.

No Kafka and no SQL here: `Ingest` is driven with messages and an `EventLog`, one batch at a time. The states of streams
are kept in memory between batches. A stream's messages come through one partition as a rule, which has one owner; but
not when a topic got more partitions. So what was decided on a remembered state is checked: new events by their versions
when they are stored, and a message without any by the version of its stream. If one is wrong, all is loaded again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid1

from msgspec import Struct, field

from consumers.outcome import Outcome, Outcomes
from consumers.parking import DEEP, PAGE, WINDOW, After, Left, Queue, Waiting, apply, backoff, let_through
from domain import handling, registry
from domain.errors import NotYet, Refused
from domain.ports import (
    Batch,
    Conflict,
    DeadLetter,
    EventLog,
    InboxEntry,
    LoadedStream,
    Message,
    Move,
    Parked,
    Partition,
    Snapshot,
    Unavailable,
)
from domain.values import Event, Fact, Meta, Recorded, Value
from infra.errors import Unreadable
from infra.failpoints import reach

SNAPSHOT_EVERY = 200
POISON_AFTER = 3
"""Processes that a message may end, one after the other, with nothing else in work."""
PIECES = 16
"""Into so many pieces is cut what the process that ended may have had in work; one of them ends the next process, and
only that one is then taken message by message."""
PIECES_AT_ONCE = 100
"""Pieces that are taken in one call, so that the caller can go on with others or end."""
ATTEMPTS = 3
ROOM = 10_000
"""Waiting messages that one batch reads beside those that are loaded with their streams."""


class Decoded(Value):
    """A readable message: its fact, its identity in the inbox, the digest of its content, and its stream."""

    message: Message
    fact: Fact
    key: bytes
    content: bytes
    stream: str


class Refusal(Value):
    """A message that cannot be read, and why."""

    message: Message
    error: Unreadable


Decode = Callable[[Message], Decoded]
"""Raises Unreadable for a message that cannot be read."""

One = Decoded | Refusal | Message
Read = Mapping[Partition, Sequence[One]]
"""One batch that was read: the messages of each partition in order; as they came while there are suspects."""


class Suspects(Value):
    """Messages before offset `until` may end this process; so many of them are taken at once."""

    until: int
    at_once: int


class Stream(Struct):
    """A stream as far as this worker knows it."""

    state: object | None = None
    version: int = 0
    queue: Queue = field(default_factory=Queue)


class Ingest:
    """Decides batches of messages and stores them. Not thread-safe: one thread drives it."""

    def __init__(
        self,
        log: EventLog,
        decode: Decode,
        clock: Callable[[], datetime],
        *,
        park_for: timedelta = timedelta(hours=24),
        cached_streams: int = 100_000,
        suspects: int = 2000,
        worker: str = "",
    ) -> None:
        """`suspects` is how many messages of a partition a process has in work at most, `worker` its name."""
        self._log = log
        self.decode = decode
        self._clock = clock
        self.park_for = park_for
        self._cached_streams = cached_streams
        self._streams: dict[str, Stream] = {}
        self._suspects = suspects
        self._worker = worker or str(uuid1())
        self._careful: dict[Partition, Suspects] = {}
        self.positions: dict[Partition, int] = {}

    def claim(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Become the owner of these partitions: their next offsets, from the event store.

        Where another process had messages in work and ended without a word, one of them may have ended it: they are
        taken in pieces, and those of the piece that ended a process one by one.
        """
        claimed = self._log.claim(partitions)
        self._streams.clear()  # also what a batch that failed has left in them
        self.positions.update(claimed)
        suspects = self._log.watch(claimed, self._worker, self._suspects) if claimed else {}
        known = {p: one for p, one in self._careful.items() if p in claimed and claimed[p] < one.until}
        piece = max(1, self._suspects // PIECES)
        self._careful = {
            p: Suspects(claimed[p] + n, piece if n > piece else 1) for p, n in suspects.items() if n
        } | known
        return claimed

    def moved(self, positions: Mapping[Partition, int]) -> bool:
        """Whether one of these positions is another in the store."""
        return self._log.claim(list(positions)) != positions

    def release(self) -> None:
        """Forget all partitions and streams: somebody else may write them from now on."""
        if self.positions:
            with suppress(Unavailable):  # then the next owner is careful without need
                self._log.unwatch(self._worker)
        self.positions.clear()
        self._streams.clear()
        self._careful.clear()

    def read(self, polled: Mapping[Partition, Sequence[Message]]) -> Read:
        """Decode the messages of one batch. It needs no state, so any thread may do it ahead of time.

        While there are suspects nothing is: what ends the process must not be blamed on the one that is in work.
        """
        if self._careful:
            return polled
        return {partition: [self._read(message) for message in messages] for partition, messages in polled.items()}

    def _read(self, message: Message) -> Decoded | Refusal:
        try:
            return self.decode(message)
        except Unreadable as error:
            return Refusal(message, error)

    def decoded(self, one: One) -> Decoded | Refusal:
        """One of a batch, decoded by now."""
        return self._read(one) if isinstance(one, Message) else one

    def take(self, read: Read) -> Outcomes:
        """Store one batch: for each partition the messages from its position on, in order.

        Where there are suspects not all may be taken; the positions tell. Raises Fenced when a partition has another
        owner, Unavailable when the store is away: claim again, and go on from the positions that it returns.
        """
        if not self._careful:
            return self._take(read)
        outcomes = Outcomes()
        if unsuspected := {p: ones for p, ones in read.items() if p not in self._careful}:
            outcomes.update(self._take(unsuspected))
        for partition in read.keys() & self._careful.keys():
            suspects, ones = self._careful[partition], read[partition]
            for first in range(0, len(ones), suspects.at_once)[:PIECES_AT_ONCE]:
                outcomes.update(self._take_piece(ones[first : first + suspects.at_once], suspects.at_once))
            if self.positions[partition] >= suspects.until:
                del self._careful[partition]
        return outcomes

    def is_partial(self, read: Read) -> bool:
        """Whether not all of a batch that was taken is stored yet."""
        return any(self.positions[p] <= _message(ones[-1]).offset for p, ones in read.items())

    def _take(self, read: Read) -> Outcomes:
        return self._store(lambda: _Deciding(self, self._clock()).messages(read))

    def _take_piece(self, ones: Sequence[One], at_once: int) -> Outcomes:
        """Take messages of which one may end this process: one that is alone and ended too many dies unread."""
        first = _message(ones[0])
        ended = self._log.trying(first.partition, first.offset, self._worker, at_once) - 1
        if at_once > 1 or ended < POISON_AFTER:
            return self._take({first.partition: ones})
        return self._store(lambda: _Deciding(self, self._clock()).poison(first))

    def retry_parked(self, limit: int = 200) -> Outcomes:
        """Try the parked messages whose time has come, and let those that have expired die: so many streams at most.

        The outcomes are empty when nothing left its queue; else there may be more to do at once.
        """
        now = self._clock()
        streams = self._log.due_parked(list(self.positions), now, limit)
        if not streams:
            return Outcomes()
        return self._store(lambda: _Deciding(self, now).parked(streams))

    def _store(self, decide: "Callable[[], _Deciding]") -> Outcomes:
        for attempt in range(ATTEMPTS):
            try:
                decided = decide()
                reach("decided")
                self._log.append(decided.batch)
            except Conflict:
                # Another process wrote the same stream or the same id: what we remember is old.
                self._streams.clear()
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                self._remember(decided)
                return decided.outcomes
        raise AssertionError("unreachable")

    def _remember(self, decided: "_Deciding") -> None:
        for move in decided.batch.moves:
            if move.next_offset is not None:
                self.positions[move.partition] = move.next_offset
        self.forget(decided.forget)
        while len(self._streams) > self._cached_streams:
            del self._streams[next(iter(self._streams))]

    def forget(self, names: Iterable[str]) -> None:
        """Load these streams anew the next time."""
        for name in names:
            self._streams.pop(name, None)

    def fetch(self, names: set[str], window: int = WINDOW) -> tuple[Mapping[str, Stream], Collection[str]]:
        """The known streams, these among them, and which of these were not remembered.

        Those are loaded; one that does not exist in the store is new and empty.
        """
        known = self._streams
        if missing := names - known.keys():
            stored = self._log.load(missing, window)
            for name in missing:
                known[name] = self._rebuilt(stored[name]) if name in stored else Stream()
        return known, missing

    def _rebuilt(self, stored: LoadedStream) -> Stream:
        snapshot = stored.snapshot
        state = handling.load_state(snapshot.kind, snapshot.state) if snapshot else None
        queue = Queue([self._waiting(one) for one in stored.parked], stored.more)
        queue.last = stored.parked[-1].seq if stored.parked else 0
        return Stream(handling.fold(stored.events, state), stored.version, queue)

    def check(self, versions: Mapping[str, int]) -> None:
        """Raise Conflict when one of these streams has another version in the store."""
        if versions and (stored := self._log.versions(versions.keys())) != versions:
            raise Conflict(
                f"{sum(stored[name] != versions[name] for name in versions)} streams were remembered wrongly"
            )

    def behind(self, name: str, queue: Queue, limit: int) -> list[Waiting]:
        """Read on in a queue: the messages that wait in the store behind those that are known."""
        page = [self._waiting(one) for one in self._log.waiting(name, queue.last, limit)]
        queue.known += page
        queue.stored = bool(page)
        queue.last = page[-1].parked.seq if page else queue.last
        return page

    def _waiting(self, parked: Parked) -> Waiting:
        try:
            decoded = self.decode(parked.message)
        except Unreadable as error:
            return Waiting(parked, None, b"", b"", error)
        return Waiting(parked, decoded.fact, decoded.key, decoded.content)

    def seen(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Which of these identities the inbox knows, with their content."""
        return dict(self._log.seen(keys)) if keys else {}


def _message(one: One) -> Message:
    return one if isinstance(one, Message) else one.message


class _Deciding:
    """One batch while it is decided."""

    def __init__(self, ingest: Ingest, now: datetime) -> None:
        self._ingest = ingest
        self._now = now
        self._moves: dict[Partition, tuple[int | None, int | None, Outcomes]] = {}
        self._seen: dict[bytes, bytes] = {}
        self._loaded: Collection[str] = ()
        self._moved: set[str] = set()
        self._doubtful: dict[str, int] = {}
        self._room = ROOM
        self.batch = Batch()
        self.outcomes = Outcomes()
        self.forget: set[str] = set()

    def messages(self, read: Read) -> "_Deciding":
        decoded: list[Decoded] = []
        for partition, ones in read.items():
            outcomes = Outcomes({Outcome.APPENDED: len(ones)})
            self._moves[partition] = (self._ingest.positions[partition], _message(ones[-1]).offset + 1, outcomes)
            self.outcomes.update(outcomes)
            for one in (self._ingest.decoded(one) for one in ones):
                if isinstance(one, Decoded):
                    decoded.append(one)
                else:
                    self._die(one.message, one.error.rule, one.error.detail, one.error)
        streams, self._loaded = self._ingest.fetch({one.stream for one in decoded})
        waiting = [one.key for name in self._loaded for one in streams[name].queue.known if one.key]
        self._seen = self._ingest.seen([one.key for one in decoded] + waiting)
        for one in decoded:
            self._decide(streams[one.stream], one)
        self._ingest.check(self._doubtful)
        # Queues are loaded anew with every batch: what waits in them must not fill the memory.
        self.forget.update(name for name in self._loaded if streams[name].queue.waits)
        return self._closed()

    def poison(self, message: Message) -> "_Deciding":
        expected = self._ingest.positions[message.partition]
        self._moves[message.partition] = (expected, message.offset + 1, Outcomes({Outcome.APPENDED: 1}))
        self.outcomes[Outcome.APPENDED] += 1
        error = Poison(f"{POISON_AFTER} processes ended with only this message in work")
        self._die(message, error.rule, str(error))
        return self._closed()

    def parked(self, names: Sequence[str]) -> "_Deciding":
        self._ingest.forget(names)
        streams, self._loaded = self._ingest.fetch(set(names), 1)
        self._seen = self._ingest.seen([one.key for name in names for one in streams[name].queue.known if one.key])
        for name in names:
            self._retry(name, streams[name])
        self.forget.update(names)
        return self._closed()

    def _decide(self, stream: Stream, one: Decoded) -> None:
        queue = stream.queue
        waits = queue.waits
        known = self._seen.get(one.key)
        if known is None and waits:
            known = queue.content(one.key)
        if known is not None:
            self._repeat(one, known)
            return
        try:
            state, events = handling.handle(stream.state, one.fact)
        except NotYet as error:
            self._doubt(one.stream, stream.version)
            self._park(stream, one, error)
            return
        except Refused as error:
            self._doubt(one.stream, stream.version)
            self._die(one.message, error.rule, str(error), one)
            return
        if not events:
            self._doubt(one.stream, stream.version)
        elif waits:
            self._let_through(stream, one, state, events)
            return
        self._record(stream, one, state, events)

    def _let_through(self, stream: Stream, one: Decoded, state: object, events: tuple[Event, ...]) -> None:
        """Others wait in this stream: the message passes only if it is what the oldest waits for."""
        queue = stream.queue
        behind = partial(self._behind, one.stream, queue)
        left: Sequence[Left] | None = ()
        if behind(0, WINDOW) or queue.unknown:
            most = min(DEEP, max(self._room, WINDOW))
            left = let_through(stream.state, state, behind, lambda key: key == one.key or key in self._seen, most)
        if left is None:
            self._park(stream, one, WaitsBehind(queue.known[0].parked.rule if queue.known else ""))
            return
        self._record(stream, one, state, events)
        for waiting, after in left:
            self._leave(stream, one.stream, waiting, after)
        queue.leave([waiting for waiting, _ in left])

    def _doubt(self, name: str, version: int) -> None:
        """A message adds no event to this stream: no version will tell whether what we remember of it is old."""
        if name not in self._loaded and name not in self._moved:
            self._doubtful.setdefault(name, version)

    def _behind(self, name: str, queue: Queue, start: int, limit: int) -> list[Waiting]:
        """Messages of a queue from a place on; read from the store when they are not known yet."""
        if start >= len(queue.known) and queue.stored:
            page = self._ingest.behind(name, queue, limit)
            self._room -= len(page)
            self._seen.update(self._ingest.seen([one.key for one in page if one.key]))
        return queue.known[start : start + limit]

    def _repeat(self, one: Decoded, known: bytes) -> None:
        """The id is known already: the message is a duplicate, or dies for its other content."""
        if known == one.content:
            self._count(one.message, Outcome.DUPLICATE)
        else:
            self._die(one.message, "same-id-other-content", _OTHER_CONTENT, one)

    def _retry(self, name: str, stream: Stream) -> None:
        """Oldest first: an expired message dies, one that applies is appended, the first that cannot holds the rest."""
        queue, taken = stream.queue, 0
        while self._room > 0 and taken < DEEP and self._behind(name, queue, taken, PAGE):
            head = queue.known[taken]
            if head.fact is not None and head.parked.expires_at <= self._now:
                story = f"{head.parked.rule}: {head.parked.detail}; since {head.parked.parked_at:%Y-%m-%d %H:%M:%S %Z}"
                self._leave(stream, name, head, Expired(story))
            else:
                try:
                    self._leave(stream, name, head, apply(stream.state, head))
                except NotYet:
                    self.batch.delay.append((head.parked.seq, self._now + backoff(head.parked.tries + 1)))
                    return
            taken += 1

    def _leave(self, stream: Stream, name: str, waiting: Waiting, after: After) -> None:
        """A parked message leaves its queue: into the stream, or as a dead letter."""
        message = waiting.parked.message
        if waiting.parked.seq:
            self.batch.unpark.append(waiting.parked.seq)
        else:
            self.batch.park.remove(waiting.parked)
        self._count(message, Outcome.PARKED, -1)
        self.forget.add(name)
        decoded = Decoded(message, waiting.fact, waiting.key, waiting.content, name) if waiting.fact else None
        if isinstance(after, tuple):
            assert decoded is not None
            if (known := self._seen.get(waiting.key)) is not None:
                self._repeat(decoded, known)
            else:
                self._record(stream, decoded, *after)
        elif isinstance(after, Unreadable):
            self._die(message, after.rule, after.detail, decoded or after)
        else:
            self._die(message, after.rule, str(after), decoded)

    def _record(self, stream: Stream, one: Decoded, state: object, events: tuple[Event, ...]) -> None:
        meta: Meta = one.fact.meta
        batch = self.batch
        before = stream.version
        for event in events:
            stream.version += 1
            batch.events.append(Recorded(one.stream, stream.version, event, meta, registry.of(event).name))
        stream.state = state
        first = None
        if events:
            self._moved.add(one.stream)
            first = before + 1
        message = one.message
        batch.inbox.append(InboxEntry(one.key, one.content, one.stream, message.partition, message.offset, first))
        self._seen[one.key] = one.content
        if not events:
            self._count(one.message, Outcome.DUPLICATE)
        if stream.version // SNAPSHOT_EVERY > before // SNAPSHOT_EVERY:
            kind, dumped = handling.dump_state(state)
            batch.snapshots.append(Snapshot(one.stream, stream.version, kind, dumped))

    def _park(self, stream: Stream, one: Decoded, why: NotYet) -> None:
        parked = Parked(
            stream=one.stream,
            message=one.message,
            rule=why.rule,
            detail=str(why),
            parked_at=self._now,
            expires_at=self._now + self._ingest.park_for,
            next_try_at=None if stream.queue.waits else self._now + backoff(0),
            identity=one.key,
        )
        self.batch.park.append(parked)
        self.forget.add(one.stream)
        stream.queue.park(Waiting(parked, one.fact, one.key, one.content))
        self._count(one.message, Outcome.PARKED)

    def _die(self, message: Message, rule: str, detail: str, one: Decoded | Unreadable | None = None) -> None:
        stream = one.stream if isinstance(one, Decoded) else None
        sender = one.fact.meta if isinstance(one, Decoded) else one
        self.batch.dead.append(
            DeadLetter(
                message=message,
                rule=rule,
                detail=detail,
                stream=stream,
                source=sender.source if sender else None,
                event_id=sender.event_id if sender else None,
                died_at=self._now,
            )
        )
        self._count(message, Outcome.DEAD)

    def _count(self, message: Message, outcome: Outcome, n: int = 1) -> None:
        """Every message counts as appended until something else became of it, since most of them are."""
        move = self._moves.get(message.partition)
        if move is None:
            # A parked message of a partition without new messages, or of one that is not ours: only its counters move.
            position = self._ingest.positions.get(message.partition)
            move = self._moves[message.partition] = (position, position, Outcomes())
        for counts in (move[2], self.outcomes):
            counts[outcome] += n
            counts[Outcome.APPENDED] -= n

    def _closed(self) -> "_Deciding":
        if not self.outcomes[Outcome.APPENDED]:
            del self.outcomes[Outcome.APPENDED]
        for partition, (expected, following, counts) in self._moves.items():
            self.batch.moves.append(
                Move(
                    partition,
                    expected,
                    following,
                    appended=counts[Outcome.APPENDED],
                    duplicate=counts[Outcome.DUPLICATE],
                    parked=counts[Outcome.PARKED],
                    dead=counts[Outcome.DEAD],
                )
            )
        return self


class WaitsBehind(NotYet):
    """An older message of this stream waits already; this one keeps its place behind it."""


class Poison(Refused):
    """Each process that worked on this message ended. Look into the workers' logs before it is replayed."""


class Expired(Refused):
    """What this message waited for did not come in time. Publish what is missing, then replay the dead letter."""


_OTHER_CONTENT = "The same (source, id) was published before with other content. Give a new event a new id."
