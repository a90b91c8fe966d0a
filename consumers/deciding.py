"""What one batch of messages leads to: events, repetitions, parked messages, dead letters. Nothing is written here.

It is decided in memory, message by message, on the streams that it touches; those are changed on the way, so a batch
that is not stored leaves them wrong. The value that comes out is what `domain.ports.EventLog` writes at once.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from consumers.decoding import Decoded, Read
from consumers.outcome import Outcome, Outcomes
from consumers.parking import DEEP, PAGE, WINDOW, After, Left, Queue, Waiting, apply, backoff, let_through
from consumers.streams import Stream, Streams
from domain import handling, registry
from domain.errors import NotYet, Refused
from domain.ports import Batch, DeadLetter, EventLog, InboxEntry, Message, Move, Parked, Partition, Snapshot
from domain.values import Event, Meta, Recorded
from infra.errors import Unreadable

SNAPSHOT_EVERY = 200
ROOM = 10_000
"""Waiting messages that one batch reads beside those that are loaded with their streams."""


class Deciding:
    """One batch while it is decided; afterwards `batch` may be stored if the `doubtful` streams are as remembered."""

    def __init__(
        self, log: EventLog, streams: Streams, positions: Mapping[Partition, int], now: datetime, park_for: timedelta
    ) -> None:
        """`positions` are those of the partitions that are ours."""
        self._log = log
        self._streams = streams
        self._positions = positions
        self._now = now
        self._park_for = park_for
        self._moves: dict[Partition, tuple[int | None, int | None, Outcomes]] = {}
        self._seen: dict[bytes, bytes] = {}
        self._loaded: Collection[str] = ()
        self._grown: set[str] = set()  # streams with new events: their versions tell whether they were remembered well
        self._room = ROOM
        self.batch = Batch()
        self.outcomes = Outcomes()
        self.doubtful: dict[str, int] = {}
        """Streams that the batch leaves as they are -> the version at which they were remembered."""
        self.forget: set[str] = set()
        """Streams that are to be loaded anew before the next batch."""

    def messages(self, read: Read) -> "Deciding":
        """New messages, from the positions of their partitions on; each counts as appended until it is known better."""
        decoded: list[Decoded] = []
        for partition, ones in read.items():
            outcomes = Outcomes({Outcome.APPENDED: len(ones)})
            self._moves[partition] = (self._positions[partition], ones[-1].message.offset + 1, outcomes)
            self.outcomes.update(outcomes)
            for one in ones:
                if isinstance(one, Decoded):
                    decoded.append(one)
                else:
                    self._die(one.message, one.error.rule, one.error.detail, one.error)
        streams, self._loaded = self._streams.fetch({one.stream for one in decoded})
        waiting = [one.identity for name in self._loaded for one in streams[name].queue.known if one.identity]
        self._seen = self._in_inbox([one.identity for one in decoded] + waiting)
        for one in decoded:
            self._decide(streams[one.stream], one)
        # Queues are loaded anew with every batch: what waits in them must not fill the memory.
        self.forget.update(name for name in self._loaded if streams[name].queue.waits)
        return self._closed()

    def unread(self, message: Message, error: Refused) -> "Deciding":
        """The next message of its partition dies for this, and nobody reads it."""
        expected = self._positions[message.partition]
        self._moves[message.partition] = (expected, message.offset + 1, Outcomes({Outcome.APPENDED: 1}))
        self.outcomes[Outcome.APPENDED] += 1
        self._die(message, error.rule, str(error))
        return self._closed()

    def parked(self, names: Sequence[str]) -> "Deciding":
        """What waits in these streams is tried again."""
        self._streams.forget(names)
        streams, self._loaded = self._streams.fetch(set(names), 1)
        self._seen = self._in_inbox(
            [one.identity for name in names for one in streams[name].queue.known if one.identity]
        )
        for name in names:
            self._retry(name, streams[name])
        self.forget.update(names)
        return self._closed()

    def _decide(self, stream: Stream, one: Decoded) -> None:
        queue = stream.queue
        waits = queue.waits
        known = self._seen.get(one.identity)
        if known is None and waits:
            known = queue.content(one.identity)
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
            left = let_through(
                stream.state, state, behind, lambda identity: identity == one.identity or identity in self._seen, most
            )
        if left is None:
            self._park(stream, one, WaitsBehind(queue.known[0].parked.rule if queue.known else ""))
            return
        self._record(stream, one, state, events)
        for waiting, after in left:
            self._leave(stream, one.stream, waiting, after)
        queue.leave([waiting for waiting, _ in left])

    def _doubt(self, name: str, version: int) -> None:
        """A message adds no event to this stream: no version will tell whether what we remember of it is old."""
        if name not in self._loaded and name not in self._grown:
            self.doubtful.setdefault(name, version)

    def _behind(self, name: str, queue: Queue, start: int, limit: int) -> list[Waiting]:
        """Messages of a queue from a place on; read from the store when they are not known yet."""
        if start >= len(queue.known) and queue.stored:
            page = self._streams.behind(name, queue, limit)
            self._room -= len(page)
            self._seen.update(self._in_inbox([one.identity for one in page if one.identity]))
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
        decoded = Decoded(message, waiting.fact, waiting.identity, waiting.content, name) if waiting.fact else None
        if isinstance(after, tuple):
            assert decoded is not None
            if (known := self._seen.get(waiting.identity)) is not None:
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
            self._grown.add(one.stream)
            first = before + 1
        message = one.message
        batch.inbox.append(InboxEntry(one.identity, one.content, one.stream, message.partition, message.offset, first))
        self._seen[one.identity] = one.content
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
            expires_at=self._now + self._park_for,
            next_try_at=None if stream.queue.waits else self._now + backoff(0),
            identity=one.identity,
        )
        self.batch.park.append(parked)
        self.forget.add(one.stream)
        stream.queue.park(Waiting(parked, one.fact, one.identity, one.content))
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
        """Something else became of a message, which counted as appended until now, since most of them are."""
        move = self._moves.get(message.partition)
        if move is None:
            # A parked message of a partition without new messages, or of one that is not ours: only its counters move.
            position = self._positions.get(message.partition)
            move = self._moves[message.partition] = (position, position, Outcomes())
        for counts in (move[2], self.outcomes):
            counts[outcome] += n
            counts[Outcome.APPENDED] -= n

    def _in_inbox(self, identities: Sequence[bytes]) -> dict[bytes, bytes]:
        """Which of these identities the inbox knows, with their content."""
        return dict(self._log.seen(identities)) if identities else {}

    def _closed(self) -> "Deciding":
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
