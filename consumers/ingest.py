"""From messages to one transaction: decode, look for duplicates, decide, and hand the whole batch to the event store.

No Kafka and no SQL here: `Ingest` is driven with messages and an `EventLog`, one batch at a time. Since a stream's
messages come through one partition, and only the owner of a partition can move its position, the states of streams may
be kept in memory between batches; whenever the store refuses a batch, what it touched is forgotten and loaded again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consumers.outcome import Outcome, Outcomes
from consumers.parking import Waiting, backoff, let_through
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
)
from domain.values import Event, Fact, Meta, Recorded, value
from infra.errors import Unreadable
from infra.failpoints import reach

SNAPSHOT_EVERY = 200
ATTEMPTS = 3


@value
class Decoded:
    """A readable message: its fact, its identity in the inbox, the digest of its content, and its stream."""

    message: Message
    fact: Fact
    key: bytes
    content: bytes
    stream: str


@value
class Refusal:
    """A message that cannot be read, and why."""

    message: Message
    error: Unreadable


Decode = Callable[[Message], Decoded]
"""Raises Unreadable for a message that cannot be read."""

Read = Mapping[Partition, Sequence[Decoded | Refusal]]
"""One batch that was read: the messages of each partition in order."""


@dataclass(slots=True)
class Stream:
    """A stream as far as this worker knows it."""

    state: object | None = None
    version: int = 0
    waiting: list[Waiting] = field(default_factory=list)


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
    ) -> None:
        self._log = log
        self.decode = decode
        self._clock = clock
        self.park_for = park_for
        self._cached_streams = cached_streams
        self._streams: dict[str, Stream] = {}
        self.positions: dict[Partition, int] = {}

    def claim(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Become the owner of these partitions: their next offsets, from the event store."""
        claimed = self._log.claim(partitions)
        self._streams.clear()  # also what a batch that failed has left in them
        self.positions.update(claimed)
        return claimed

    def release(self) -> None:
        """Forget all partitions and streams: somebody else may write them from now on."""
        self.positions.clear()
        self._streams.clear()

    def read(self, polled: Mapping[Partition, Sequence[Message]]) -> Read:
        """Decode the messages of one batch. It needs no state, so any thread may do it ahead of time."""
        return {partition: [self._read(message) for message in messages] for partition, messages in polled.items()}

    def _read(self, message: Message) -> Decoded | Refusal:
        try:
            return self.decode(message)
        except Unreadable as error:
            return Refusal(message, error)

    def take(self, read: Read) -> Outcomes:
        """Store one batch: for each partition the messages from its position on, in order.

        Raises Fenced when a partition has another owner, Unavailable when the store is away: claim again, and go on
        from the positions that it returns.
        """
        return self._store(lambda: _Deciding(self, self._clock()).messages(read))

    def retry_parked(self, limit: int = 500) -> Outcomes:
        """Try the parked messages whose time has come, and let those that have expired die."""
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
                # Another partition wrote the same stream or the same id: what we remember is old.
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

    def fetch(self, names: set[str]) -> dict[str, Stream]:
        """The streams by name, from memory or the store; those that do not exist are new and empty."""
        known = self._streams
        if missing := [name for name in names if name not in known]:
            stored = self._log.load(missing)
            for name in missing:
                known[name] = self._rebuilt(stored[name]) if name in stored else Stream()
        return {name: known[name] for name in names}

    def _rebuilt(self, stored: LoadedStream) -> Stream:
        snapshot = stored.snapshot
        state = handling.load_state(snapshot.kind, snapshot.state) if snapshot else None
        stream = Stream(handling.fold(stored.events, state), stored.version)
        for parked in stored.parked:
            try:
                decoded = self.decode(parked.message)
                stream.waiting.append(Waiting(parked, decoded.fact, decoded.key, decoded.content))
            except Unreadable as error:
                stream.waiting.append(Waiting(parked, None, b"", b"", error))
        return stream

    def seen(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Which of these identities the inbox knows, with their content."""
        return dict(self._log.seen(keys)) if keys else {}


class _Deciding:
    """One batch while it is decided."""

    def __init__(self, ingest: Ingest, now: datetime) -> None:
        self._ingest = ingest
        self._now = now
        self._moves: dict[Partition, tuple[int | None, int | None, Outcomes]] = {}
        self._seen: dict[bytes, bytes] = {}
        self.batch = Batch()
        self.outcomes = Outcomes()
        self.forget: set[str] = set()

    def messages(self, read: Read) -> "_Deciding":
        decoded: list[Decoded] = []
        for partition, ones in read.items():
            outcomes = Outcomes({Outcome.APPENDED: len(ones)})
            self._moves[partition] = (self._ingest.positions[partition], ones[-1].message.offset + 1, outcomes)
            self.outcomes.update(outcomes)
            for one in ones:
                if isinstance(one, Decoded):
                    decoded.append(one)
                else:
                    self._die(one.message, one.error.rule, one.error.detail)
        streams = self._ingest.fetch({one.stream for one in decoded})
        self._seen = self._ingest.seen([one.key for one in decoded] + _waiting_keys(streams))
        for one in decoded:
            self._decide(streams[one.stream], one)
        return self._closed()

    def parked(self, names: Sequence[str]) -> "_Deciding":
        self._ingest.forget(names)
        streams = self._ingest.fetch(set(names))
        self._seen = self._ingest.seen(_waiting_keys(streams))
        for name, stream in streams.items():
            self._retry(name, stream)
        self.forget.update(names)
        return self._closed()

    def _decide(self, stream: Stream, one: Decoded) -> None:
        known = self._seen.get(one.key)
        if known is None and stream.waiting:
            known = next((w.content for w in stream.waiting if w.key == one.key), None)
        if self._repeats(one, known):
            return
        try:
            state, events = handling.handle(stream.state, one.fact)
        except NotYet as error:
            self._park(stream, one, error)
            return
        except Refused as error:
            self._die(one.message, error.rule, str(error), one)
            return
        if stream.waiting and events:
            passed = let_through(state, stream.waiting)
            if passed is None:
                self._park(stream, one, WaitsBehind(stream.waiting[0].parked.rule))
                return
            self._record(stream, one, state, events)
            for waiting, after in passed:
                self._leave(stream, one.stream, waiting, after)
            return
        self._record(stream, one, state, events)

    def _repeats(self, one: Decoded, known: bytes | None) -> bool:
        """Whether the id is known already; then the message is a duplicate, or dies for its other content."""
        if known is None:
            return False
        if known == one.content:
            self._count(one.message, Outcome.DUPLICATE)
        else:
            self._die(one.message, "same-id-other-content", _OTHER_CONTENT, one)
        return True

    def _retry(self, name: str, stream: Stream) -> None:
        """Oldest first: an expired message dies, one that applies is appended, the first that cannot holds the rest."""
        while stream.waiting:
            head = stream.waiting[0]
            if head.fact is not None and head.parked.expires_at > self._now:
                try:
                    after = handling.handle(stream.state, head.fact)
                except NotYet:
                    tries = head.parked.tries + 1
                    self.batch.delay.append((head.parked.seq, self._now + backoff(tries)))
                    return
                except Refused as error:
                    self._leave(stream, name, head, error)
                    continue
                self._leave(stream, name, head, after)
            else:
                story = f"{head.parked.rule}: {head.parked.detail}; since {head.parked.parked_at:%Y-%m-%d %H:%M:%S %Z}"
                self._leave(stream, name, head, head.error or Expired(story))

    def _leave(
        self,
        stream: Stream,
        name: str,
        waiting: Waiting,
        after: "tuple[object, tuple[Event, ...]] | Refused | Unreadable",
    ) -> None:
        """A parked message leaves its queue: into the stream, or as a dead letter."""
        stream.waiting.remove(waiting)
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
            if not self._repeats(decoded, self._seen.get(waiting.key)):
                self._record(stream, decoded, *after)
        elif isinstance(after, Unreadable):
            self._die(message, after.rule, after.detail, decoded)
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
        batch.inbox.append(InboxEntry(one.key, one.content, one.stream))
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
            next_try_at=self._now + backoff(0),
        )
        self.batch.park.append(parked)
        stream.waiting.append(Waiting(parked, one.fact, one.key, one.content))
        self.forget.add(one.stream)  # its place in the queue is given by the store
        self._count(one.message, Outcome.PARKED)

    def _die(self, message: Message, rule: str, detail: str, one: Decoded | None = None) -> None:
        meta = one.fact.meta if one else None
        self.batch.dead.append(
            DeadLetter(
                message=message,
                rule=rule,
                detail=detail,
                stream=one.stream if one else None,
                source=meta.source if meta else None,
                event_id=meta.event_id if meta else None,
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


class Expired(Refused):
    """What this message waited for did not come in time. Publish what is missing, then replay the dead letter."""


_OTHER_CONTENT = "The same (source, id) was published before with other content. Give a new event a new id."


def _waiting_keys(streams: Mapping[str, Stream]) -> list[bytes]:
    return [w.key for stream in streams.values() if stream.waiting for w in stream.waiting if w.key]
