"""The event log in memory: the reference for the conformance suite, and what unit tests of the consumers use."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from domain import handling
from domain.ports import (
    Batch,
    Conflict,
    DeadLetter,
    Fenced,
    InboxEntry,
    LoadedStream,
    Move,
    Parked,
    Partition,
    Snapshot,
)
from domain.values import Position, Recorded, Value


class Attempt(Value):
    """What the process that owns a partition has in work from an offset on, and which processes ended there."""

    offset: int
    worker: str
    in_work: int
    suspects: int = 0
    alone: frozenset[str] = frozenset()


class MemoryLog:
    """Keeps `domain.ports.EventLog`. What it holds is open to tests."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.inbox: dict[bytes, InboxEntry] = {}
        self.parked: dict[int, Parked] = {}
        self.dead: list[DeadLetter] = []
        self.positions: dict[Partition, int] = {}
        self.counts: dict[Partition, dict[str, int]] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.attempts: dict[Partition, Attempt] = {}
        self._streams: dict[str, list[Recorded]] = {}
        self._last_seq = 0

    def claim(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {p: self.positions.setdefault(p, 0) for p in partitions}

    def watch(self, positions: Mapping[Partition, int], worker: str, in_work: int) -> dict[Partition, int]:
        for partition, offset in positions.items():
            known = self.attempts.get(partition)
            if known is None or known.offset != offset:
                self.attempts[partition] = Attempt(offset, worker, in_work)
            elif known.worker != worker:
                self.attempts[partition] = replace(known, worker=worker, suspects=known.in_work)
        return {partition: self.attempts[partition].suspects for partition in positions}

    def unwatch(self, worker: str) -> None:
        self.attempts = {p: one for p, one in self.attempts.items() if one.worker != worker or one.suspects}

    def trying(self, partition: Partition, offset: int, worker: str, in_work: int) -> int:
        known = self.attempts.get(partition)
        again = known is not None and (known.offset, known.in_work, in_work) == (offset, 1, 1)
        before = known.alone if known and again else frozenset()
        alone = before | {worker}
        self.attempts[partition] = Attempt(offset, worker, in_work, known.suspects if known else 0, alone)
        return len(alone)

    def load(self, streams: Collection[str], window: int = 20) -> dict[str, LoadedStream]:
        return {name: loaded for name in streams if (loaded := self._load(name, window)) is not None}

    def versions(self, streams: Collection[str]) -> dict[str, int]:
        return {name: len(self._streams.get(name, [])) for name in streams}

    def waiting(self, stream: str, after: int, limit: int) -> Sequence[Parked]:
        return [one for one in self.parked.values() if one.stream == stream and one.seq > after][:limit]

    def seen(self, identities: Collection[bytes]) -> dict[bytes, bytes]:
        return {one: self.inbox[one].content for one in identities if one in self.inbox}

    def entries(self, identities: Collection[bytes]) -> dict[bytes, InboxEntry]:
        return {one: self.inbox[one] for one in identities if one in self.inbox}

    def append(self, batch: Batch) -> Position:
        self._check(batch)
        for move in batch.moves:
            self._move(move)
        for entry in batch.inbox:
            self.inbox[entry.identity] = entry
        changed = {one.stream for one in batch.park} | {self.parked.pop(seq).stream for seq in batch.unpark}
        for seq, at in batch.delay:
            one = self.parked[seq]
            self.parked[seq] = replace(one, next_try_at=at, tries=one.tries + 1)
        for one in batch.park:
            self._last_seq += 1
            self.parked[self._last_seq] = replace(one, seq=self._last_seq)
        self._wake(changed)
        self.dead.extend(batch.dead)
        for snapshot in batch.snapshots:
            self.snapshots[snapshot.stream] = snapshot
        now = (
            max(datetime.now(UTC), self.events[-1].recorded_at or datetime.min.replace(tzinfo=UTC))
            if self.events
            else datetime.now(UTC)
        )
        for event in batch.events:
            stored = replace(event, position=Position(len(self.events) + 1), recorded_at=now)
            self.events.append(stored)
            self._streams.setdefault(event.originator_id, []).append(stored)
        return self.head()

    def read(
        self,
        after: Position,
        limit: int,
        names: Collection[str] | None = None,
        personal: Collection[str] | None = None,
    ) -> Sequence[Recorded]:
        return [event for event in self.events[after : after + limit] if names is None or event.name in names]

    def head(self) -> Position:
        return Position(len(self.events))

    def erasures(self) -> int:
        return 0

    def due_parked(self, partitions: Collection[Partition], now: datetime, limit: int) -> list[str]:
        heads: dict[str, Parked] = {}
        for one in self.parked.values():
            heads.setdefault(one.stream, one)
        due = [
            one
            for one in heads.values()
            if _is_for(one.message.partition, partitions)
            and min(one.next_try_at or one.expires_at, one.expires_at) <= now
        ]
        return [one.stream for one in due[:limit]]

    def _wake(self, streams: Collection[str]) -> None:
        """The oldest message of a queue has a next try."""
        oldest: dict[str, Parked] = {}
        for one in self.parked.values():
            oldest.setdefault(one.stream, one)
        for name in streams:
            if name in oldest and oldest[name].next_try_at is None:
                first = oldest[name]
                self.parked[first.seq] = replace(first, next_try_at=first.parked_at)

    def _load(self, name: str, window: int) -> LoadedStream | None:
        events = self._streams.get(name, [])
        parked = tuple(self.waiting(name, 0, window + 1))
        if not events and not parked:
            return None
        snapshot = self.snapshots.get(name)
        if snapshot and snapshot.kind not in handling.snapshot_kinds().values():
            snapshot = None
        after = snapshot.version if snapshot else 0
        return LoadedStream(len(events), snapshot, tuple(events[after:]), parked[:window], len(parked) > window)

    def _check(self, batch: Batch) -> None:
        """All refusals come before the first change: a batch is written whole or not at all."""
        for move in batch.moves:
            if move.expected is not None and self.positions.get(move.partition) != move.expected:
                raise Fenced(f"{move.partition.topic}[{move.partition.number}] is not at {move.expected}")
        identities = [entry.identity for entry in batch.inbox]
        if len(set(identities)) != len(identities) or any(one in self.inbox for one in identities):
            raise Conflict("an identity is taken")
        if not self.parked.keys() >= {*batch.unpark, *(seq for seq, _ in batch.delay)}:
            raise Conflict("a parked message left its queue meanwhile")
        versions: dict[str, int] = {}
        for event in batch.events:
            name = event.originator_id
            last = versions.get(name, len(self._streams.get(name, [])))
            if event.originator_version != last + 1:
                raise Conflict(f"{name} is at version {last}, not {event.originator_version - 1}")
            versions[name] = event.originator_version

    def _move(self, move: Move) -> None:
        if move.next_offset is not None:
            self.positions[move.partition] = move.next_offset
        counts = self.counts.setdefault(move.partition, dict.fromkeys(("appended", "duplicate", "parked", "dead"), 0))
        for outcome in counts:
            counts[outcome] += getattr(move, outcome)


def _is_for(partition: Partition, owned: Collection[Partition]) -> bool:
    return partition in owned or any(
        p.topic == partition.topic and p.number == 0 and p.topic_id != partition.topic_id for p in owned
    )
