"""A proof that a projection folded every event once: what it folded, counted per range of positions.

Of each range are kept how many events were folded and the exclusive or of their digests. One that is skipped, folded
twice or another than the log's changes it, and within its range it is found by its digest.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import combinations
from math import comb

from domain.values import Position, Recorded

RANGE = 256
"""Positions that are counted together."""
MOST_TRIES = 1_000_000
"""Combinations that are tried to name the missing events of a range."""


def digest_of(position: int, stream: str, version: int) -> int:
    """A signed 64-bit digest of an event at its position. `infra.postgres.completeness` says the same in SQL."""
    return int.from_bytes(sha256(f"{position}/{version}/{stream}".encode()).digest()[:8], "big", signed=True)


def range_of(position: int) -> int:
    """The last position before the range."""
    return (position - 1) // RANGE * RANGE


class Folded:
    """What was folded: range -> number of events and the exclusive or of their digests."""

    __slots__ = ("ranges",)

    def __init__(self) -> None:
        self.ranges: dict[int, tuple[int, int]] = {}

    def add(self, position: int, digest: int) -> None:
        """Count one event."""
        start = range_of(position)
        n, together = self.ranges.get(start, (0, 0))
        self.ranges[start] = n + 1, together ^ digest


def digests(events: Iterable[Recorded]) -> Iterator[tuple[Position, int]]:
    """Position and digest of each stored event."""
    for event in events:
        assert event.position is not None
        yield event.position, digest_of(event.position, event.originator_id, event.originator_version)


def explain(stored: Sequence[tuple[int, int]], n: int, together: int) -> tuple[str, int | None]:
    """What is wrong with a range: missing, doubled or different, and the first position that is, if it can be told.

    `stored` are positions and digests of the log's events in the range, `n` and `together` what was folded of them.
    """
    wrong = together
    for _, digest in stored:
        wrong ^= digest
    lacking = len(stored) - n
    kind = "missing" if lacking > 0 else "doubled" if lacking < 0 else "different"
    number = abs(lacking)
    if number and comb(len(stored), number) <= MOST_TRIES:
        for some in combinations(stored, number):
            left = wrong
            for _, digest in some:
                left ^= digest
            if left == 0:
                return kind, some[0][0]
    return kind, None
