"""How a worker and its store stand at a moment, as plain values: consumers make them, `infra.telemetry` shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reading:
    """What a worker had to read when it looked last, and what it has gone through."""

    assigned: int = 0
    """Partitions that the group gave to it."""
    read: int = 0
    """Those of them that are claimed and read."""
    standing: int = 0
    """Those of them that stand still, since nobody can read them."""
    unread: Mapping[str, int] = field(default_factory=dict)
    """Topic -> offsets between what was fetched and the ends of its partitions; only of those that are read."""
    claims: int = 0
    rebalances: int = 0


@dataclass(frozen=True, slots=True)
class Folding:
    """How the live build of one read model stands."""

    name: str
    position: int
    behind: int
    """Events of the log that are not folded."""
    seconds: float
    """Since the oldest of them was stored; 0 without any."""
    stopped: bool
    paused: bool


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds; the same for every worker. Ages are in seconds, and 0 when there is nothing to be old."""

    at: float
    """Seconds since 1970."""
    head: int
    foldings: Sequence[Folding]
    parked: Mapping[str, int]
    """Topic -> messages that wait."""
    parked_age: float
    """Of the message that waits longest."""
    dead: Mapping[str, int]
    """Topic -> dead letters that are kept."""
    unpublished: int
    """Dead letters that are not on their topic yet; counted up to a bound."""
    unpublished_age: float
    views: Mapping[str, float] = field(default_factory=dict)
    """View -> seconds since the oldest of its changes that are not published; 0 without any."""
