"""Sequenced parking: what cannot apply yet waits with its stream, and later messages of that stream wait behind it.

A later message passes only if it is what the oldest one waits for: tried on a copy of the state, it must let the oldest
through, or the oldest must wait for something else than before. So messages that came in any wrong order heal, and
nothing else overtakes.

What this costs is bounded, however long a queue is: only its oldest messages are known, and the rest is read in pages
when those have left. What remains after so many messages or TRIES decisions is taken up by the next retry.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from msgspec import Struct, field

from domain import handling
from domain.errors import NotYet, Refused
from domain.ports import Parked
from domain.values import Event, Fact
from infra.errors import Unreadable

WINDOW = 20
"""Messages of a queue that are known beside the state of their stream."""
PAGE = 500
"""Messages that are read at once behind them."""
DEEP = 2000
"""Messages of a queue that one message can let through, and that one retry takes."""
TRIES = 20_000
"""Decisions that one message may cause."""

After = tuple[object, tuple[Event, ...]] | Refused | Unreadable
Left = tuple["Waiting", After]
"""A parked message that leaves the queue, with the state and events that it leads to, or why it must die."""
Behind = Callable[[int, int], Sequence["Waiting"]]
"""The messages of a queue from a place on, at most so many; none at its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A parked message, decoded. `fact` is None when it cannot be read any more, and `error` says why."""

    parked: Parked
    fact: Fact | None
    identity: bytes
    content: bytes
    error: Unreadable | None = None


class Queue(Struct):
    """The oldest messages that wait in a stream, and whether more wait behind them."""

    known: list[Waiting] = field(default_factory=list)
    stored: bool = False
    """More are in the store, behind `last`."""
    last: int = 0
    unknown: bool = False
    """More were parked in this batch, behind those that are in the store."""

    @property
    def waits(self) -> bool:
        """Whether anything waits in the stream."""
        return bool(self.known) or self.stored or self.unknown

    def content(self, identity: bytes) -> bytes | None:
        """What the known message with this identity says."""
        return next((one.content for one in self.known if one.identity == identity), None)

    def park(self, one: Waiting) -> None:
        """It waits behind all others."""
        if self.stored or self.unknown or len(self.known) >= DEEP:
            self.unknown = True
        else:
            self.known.append(one)

    def leave(self, left: Sequence[Waiting]) -> None:
        """These wait no more."""
        gone = set(map(id, left))
        self.known = [one for one in self.known if id(one) not in gone]


def backoff(tries: int) -> timedelta:
    """5 s, 10 s, 20 s … at most an hour until the next try."""
    return timedelta(seconds=min(5 * 2 ** min(tries, 12), 3600))


def let_through(
    before: object | None, state: object, behind: Behind, seen: Callable[[bytes], bool], most: int = DEEP
) -> list[Left] | None:
    """What leaves the queue, in order, once the stream went from `before` to `state`; perhaps nothing.

    None when the oldest waits on for the same: then it was not what it waits for that moved the stream. Messages behind
    the window are looked at when the oldest is through, or waits for something else than before. If what it waits for
    now may lie behind the `most` messages that are looked at, those before it need not stay. A message whose identity
    was `seen` leaves without an effect: it was sent twice.
    """
    first = behind(0, 1)
    if not first or (held_by := _reason(before, oldest := first[0])) is None:
        return None  # it waits for nothing any more: the next retry takes it before all that comes later
    left: list[Left] = []
    held: list[Waiting] = []
    looked, tries = 0, TRIES
    told: set[bytes] = set()
    while looked < most and tries > 0:
        page = behind(looked, PAGE if looked else WINDOW)
        if not page:
            break
        looked += len(page)
        held += page
        told.update(one.identity for one in page if seen(one.identity))
        state, tries = _leave(state, held, left, told, tries)
        if held and held[0] is oldest and _reason(state, oldest) == held_by:
            return None
    return left


def apply(state: object | None, one: Waiting) -> After:
    """What a waiting message leads to. Raises NotYet when it must wait on."""
    if one.fact is None:
        assert one.error is not None
        return one.error
    try:
        return handling.handle(state, one.fact)
    except Refused as error:
        return error


def _leave(state: object, held: list[Waiting], left: list[Left], told: set[bytes], tries: int) -> tuple[object, int]:
    """Let leave what can, again and again the first that can; the state after them and the tries that remain."""
    at = 0
    while at < len(held) and tries > 0:
        tries -= 1
        try:
            after = apply(state, held[at])
        except NotYet:
            at += 1
            continue
        one = held.pop(at)
        if isinstance(after, tuple):
            if one.identity in told:
                after = (state, ())
            told.add(one.identity)
            # When the stream moved, those before are tried again.
            state, at = (after[0], 0) if after[1] else (state, at)
        left.append((one, after))
    return state, tries


def _reason(state: object | None, one: Waiting) -> str | None:
    """The rule that holds a message in this state."""
    try:
        apply(state, one)
    except NotYet as error:
        return error.rule
    return None
