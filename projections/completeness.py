"""A proof that a projection folded every event once: what it folded, counted per range of positions.

Of each range are kept how many events were folded and the exclusive or of their digests. One that is skipped, folded
twice or another than the log's changes it, and within its range it is found by its digest.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import combinations
from math import comb
from struct import Struct

from domain.values import Recorded

RANGE = 256
"""Positions that are counted together."""
MOST_TRIES = 1_000_000
"""Combinations that are tried to name the missing events of a range."""


_signed = Struct(">q").unpack_from

Proof = tuple[int, int]
"""The last position before the range of an event, and its digest: signed, of 64 bits."""


def proofs_of(events: Iterable[Recorded]) -> list[Proof]:
    """The proof of each stored event. `infra.postgres.completeness` says the same in SQL."""
    proofs: list[Proof] = []
    for event in events:
        position = event.position
        assert position is not None
        said = f"{position}/{event.originator_version}/{event.originator_id}".encode()
        proofs.append(((position - 1) // RANGE * RANGE, _signed(sha256(said).digest())[0]))
    return proofs


class Folded:
    """What was folded: range -> number of events and the exclusive or of their digests."""

    __slots__ = ("ranges",)

    def __init__(self) -> None:
        self.ranges: dict[int, list[int]] = {}

    def add(self, proofs: Iterable[Proof]) -> None:
        """Count the events with these proofs."""
        ranges = self.ranges
        for start, digest in proofs:
            counted = ranges.get(start)
            if counted is None:
                ranges[start] = [1, digest]
            else:
                counted[0] += 1
                counted[1] ^= digest


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
