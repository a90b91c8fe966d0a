"""What the consumers need from the outside, as protocols, and the values and errors that pass between them.

`EventLog` is kept by `infra.postgres` and `infra.memory`, `Admin` by `infra.kafka`. They stand here since both sides
may import the domain, and what keeps a protocol imports no consumer. What the domain does not know, such as projections
or records of the Kafka client, is declared where it is used.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from domain.errors import DomainError
from domain.values import Position, Recorded, Value


class Fenced(DomainError):
    """Another worker moved this partition's position: this one no longer owns it. Read the position again."""


class Conflict(DomainError):
    """The batch was decided on an older state (a stream moved, or a message is in the inbox). Load and decide again."""


class Unavailable(DomainError):
    """The event store did not answer or the outcome of the commit is unknown. Read the position again and go on."""


class Partition(Value):
    """One partition of one incarnation of a topic; a topic that is deleted and made anew has another `topic_id`."""

    topic: str
    topic_id: str
    number: int


class Move(Value):
    """A partition's position goes from `expected` to `next_offset`, and the outcomes of the messages in between.

    Both are None when only counters move: of a partition that somebody else owns, or whose topic is gone.
    `appended + duplicate + parked + dead` is the number of messages read; a parked message that is tried again later
    counts -1 parked and +1 for what became of it.
    """

    partition: Partition
    expected: int | None
    next_offset: int | None
    appended: int = 0
    duplicate: int = 0
    parked: int = 0
    dead: int = 0


class Message(Value):
    """A message as it came: position, key, headers and bytes, kept so that nothing of it is lost."""

    partition: Partition
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class InboxEntry(Value):
    """`identity` is the digest of (source, id), `content` that of what the message says, `stream` where it went.

    `partition` and `offset` are where it arrived, `version` that of its first event: None when it said nothing new. A
    former release kept none of the three.
    """

    identity: bytes
    content: bytes
    stream: str
    partition: Partition | None = None
    offset: int | None = None
    version: int | None = None


class Parked(Value):
    """A message that waits in its stream's queue. `seq` orders the queue and is given when it is stored.

    `next_try_at` is None for one that waits behind others: it has a next try when it becomes the oldest. `identity` is
    that of its entry in the inbox to come; a former release did not keep it.
    """

    stream: str
    message: Message
    rule: str
    detail: str
    parked_at: datetime
    expires_at: datetime
    next_try_at: datetime | None
    tries: int = 0
    seq: int = 0
    identity: bytes | None = None


class DeadLetter(Value):
    """A message that can never apply or cannot be read, the rule that refused it, and the whole story."""

    message: Message
    rule: str
    detail: str
    stream: str | None
    source: str | None
    event_id: str | None
    died_at: datetime


class Snapshot(Value):
    """The state of a stream at a version, as JSON, so that an old stream costs no more to load than a new one."""

    stream: str
    version: int
    kind: str
    state: bytes


@dataclass(slots=True)
class Batch:
    """All that one transaction writes. It is written whole or not at all."""

    moves: list[Move] = field(default_factory=list)
    events: list[Recorded] = field(default_factory=list)
    inbox: list[InboxEntry] = field(default_factory=list)
    park: list[Parked] = field(default_factory=list)
    unpark: list[int] = field(default_factory=list)
    delay: list[tuple[int, datetime]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


class LoadedStream(Value):
    """What is stored of a stream: the newest snapshot, the events after it, its last version, and the oldest messages
    of its parked queue; `more` tells that others wait behind them.
    """

    version: int = 0
    snapshot: Snapshot | None = None
    events: tuple[Recorded, ...] = ()
    parked: tuple[Parked, ...] = ()
    more: bool = False


class EventLog(Protocol):
    """The event store as the ingest and the projector see it. Versions of a stream start at 1."""

    def claim(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """The next offset of each partition, made if new (0). Waits for a former owner's open transaction to end."""

    def watch(self, positions: Mapping[Partition, int], worker: str, in_work: int) -> Mapping[Partition, int]:
        """Keep that this process begins at these positions, with at most `in_work` messages of each in work at once.

        Returns how many messages from there on are suspects: another process had them in work, and ended without a
        word before it came further. One that ends cleanly says so with `unwatch`.
        """

    def unwatch(self, worker: str) -> None:
        """This process ends cleanly. What it was suspicious of itself, and has not taken, stays suspect."""

    def trying(self, partition: Partition, offset: int, worker: str, in_work: int) -> int:
        """Keep that this process works on so many messages from this offset on, and on no others of the partition.

        Returns how many processes by now worked on the message there alone, this one included; each counts once.
        Committed at once, so that it outlives the process.
        """

    def load(self, streams: Collection[str], window: int = 20) -> Mapping[str, LoadedStream]:
        """The stored streams; one that does not exist (and has nothing parked) is absent.

        Of a queue come the `window` oldest messages, or fewer when they are large.
        """

    def versions(self, streams: Collection[str]) -> Mapping[str, int]:
        """The last version of each stream; 0 for one without events."""

    def waiting(self, stream: str, after: int, limit: int) -> Sequence[Parked]:
        """The messages of a stream's queue behind this `seq`, in order; at least one when there are any."""

    def seen(self, identities: Collection[bytes]) -> Mapping[bytes, bytes]:
        """Identities that the inbox knows -> their content digest."""

    def entries(self, identities: Collection[bytes]) -> Mapping[bytes, InboxEntry]:
        """What the inbox keeps of these identities; without those that it does not know."""

    def append(self, batch: Batch) -> Position:
        """Write the batch in one transaction and return the last position of the log.

        Raises Fenced when a position is not the expected one, Conflict when a version or an identity is taken,
        Unavailable when the store is away or the outcome is unknown.
        """

    def read(
        self,
        after: Position,
        limit: int,
        names: Collection[str] | None = None,
        personal: Collection[str] | None = None,
    ) -> Sequence[Recorded]:
        """The events of the next `limit` positions, in order, upcast to their newest version; only those of `names`.

        Personal fields are read of events of the names `personal`, of all without; of the others they may be HIDDEN.
        """

    def head(self) -> Position:
        """The last position of the log; 0 when it is empty."""

    def erasures(self) -> int:
        """How many customers were forgotten, as far as was heard with what was read and written before."""

    def due_parked(self, partitions: Collection[Partition], now: datetime, limit: int) -> Sequence[str]:
        """Streams of these partitions whose oldest parked message is due for another try or has expired.

        The owner of a topic's partition 0 also gets those that came through a topic of that name which is gone.
        """


class Admin(Protocol):
    """What the source asks the broker beside messages."""

    def ids(self, names: Sequence[str]) -> Mapping[str, str | None]:
        """The id of each topic, None for one that does not exist."""

    def close(self) -> None:
        """Close the connection."""
