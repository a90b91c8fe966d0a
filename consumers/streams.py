"""The streams that a worker remembers from batch to batch: their states, versions, and what waits in them.

A stream's messages come through one partition as a rule, which has one owner; but not when a topic got more partitions.
So what was decided on a remembered state is checked: new events by their versions when they are stored, and a message
without any by the version of its stream. If one is wrong, all is loaded again.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from msgspec import Struct, field

from consumers.decoding import Decode
from consumers.parking import WINDOW, Queue, Waiting
from domain import handling
from domain.ports import Conflict, EventLog, LoadedStream, Parked
from infra.errors import Unreadable


class Stream(Struct):
    """A stream as far as this worker knows it."""

    state: object | None = None
    version: int = 0
    queue: Queue = field(default_factory=Queue)


class Streams:
    """Remembers so many streams at most, and loads the others."""

    def __init__(self, log: EventLog, decode: Decode, most: int) -> None:
        self._log = log
        self._decode = decode
        self._most = most
        self._known: dict[str, Stream] = {}

    def fetch(self, names: set[str], window: int = WINDOW) -> tuple[Mapping[str, Stream], Collection[str]]:
        """The known streams, these among them, and which of these were not remembered.

        Those are loaded; one that does not exist in the store is new and empty.
        """
        known = self._known
        # Not a difference of sets, which goes through all that is known.
        if missing := {name for name in names if name not in known}:
            stored = self._log.load(missing, window)
            for name in missing:
                known[name] = self._rebuilt(stored[name]) if name in stored else Stream()
        return known, missing

    def behind(self, name: str, queue: Queue, limit: int) -> list[Waiting]:
        """Read on in a queue: the messages that wait in the store behind those that are known."""
        page = [self._waiting(one) for one in self._log.waiting(name, queue.last, limit)]
        queue.known += page
        queue.stored = bool(page)
        queue.last = page[-1].parked.seq if page else queue.last
        return page

    def check(self, versions: Mapping[str, int]) -> None:
        """Raise Conflict when one of these streams has another version in the store."""
        if versions and (stored := self._log.versions(versions.keys())) != versions:
            raise Conflict(
                f"{sum(stored[name] != versions[name] for name in versions)} streams were remembered wrongly"
            )

    def forget(self, names: Iterable[str]) -> None:
        """Load these streams anew the next time."""
        for name in names:
            self._known.pop(name, None)

    def forget_oldest(self) -> None:
        """Keep no more than may be remembered."""
        # In one go: each look for the oldest passes by all places where others were.
        for name in list(islice(self._known, max(0, len(self._known) - self._most))):
            del self._known[name]

    def forget_all(self) -> None:
        """Load every stream anew."""
        self._known.clear()

    def _rebuilt(self, stored: LoadedStream) -> Stream:
        snapshot = stored.snapshot
        state = handling.load_state(snapshot.kind, snapshot.state) if snapshot else None
        queue = Queue([self._waiting(one) for one in stored.parked], stored.more)
        queue.last = stored.parked[-1].seq if stored.parked else 0
        return Stream(handling.fold(stored.events, state), stored.version, queue)

    def _waiting(self, parked: Parked) -> Waiting:
        try:
            decoded = self._decode(parked.message)
        except Unreadable as error:
            return Waiting(parked, None, b"", b"", error)
        return Waiting(parked, decoded.fact, decoded.identity, decoded.content)
