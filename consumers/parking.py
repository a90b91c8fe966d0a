"""Sequenced parking: what cannot apply yet waits with its stream, and later messages of that stream wait behind it.

A later message passes only if it is what the oldest one waits for: tried on a copy of the state, it must let the oldest
through. So two messages that came in the wrong order heal, and nothing else overtakes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain import handling
from domain.errors import NotYet, Refused
from domain.ports import Parked
from domain.values import Event, Fact
from infra.errors import Unreadable

Left = tuple["Waiting", tuple[object, tuple[Event, ...]] | Refused | Unreadable]
"""A parked message that leaves the queue, with the state and events that it leads to, or why it must die."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A parked message, decoded. `fact` is None when it cannot be read any more, and `error` says why."""

    parked: Parked
    fact: Fact | None
    key: bytes
    content: bytes
    error: Unreadable | None = None


def backoff(tries: int) -> timedelta:
    """5 s, 10 s, 20 s … at most an hour until the next try."""
    return timedelta(seconds=min(5 * 2 ** min(tries, 12), 3600))


def let_through(state: object, queue: Sequence[Waiting]) -> list[Left] | None:
    """What leaves the queue, in order, once the stream is in `state`; None when the oldest still cannot apply."""
    left: list[Left] = []
    waiting = list(queue)
    moved = True
    while moved:
        moved = False
        for one in waiting:
            after: tuple[object, tuple[Event, ...]] | Refused | Unreadable
            if one.fact is None:
                assert one.error is not None
                after = one.error
            else:
                try:
                    state, events = handling.handle(state, one.fact)
                    after = (state, events)
                except NotYet:
                    continue
                except Refused as error:
                    after = error
            left.append((one, after))
            waiting.remove(one)
            moved = True
            break
    if waiting and waiting[0] is queue[0]:
        return None
    return left
