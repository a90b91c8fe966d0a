"""Intervals of shares and of their changes. z is that of a two-sided 95 % interval.

A histogram holds at index i how often i was answered, so that rows of any period or group can be added first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

Z = 1.959964


@dataclass(frozen=True, slots=True)
class Measure:
    """A value with its interval and the number of answers; `method` names the convention."""

    value: float
    low: float
    high: float
    n: int
    method: str


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between two periods, later minus earlier, with its interval."""

    delta: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """More than chance explains: the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The Wilson interval of a share, 0..1. Raises ValueError without answers."""
    if n <= 0:
        raise ValueError("a share needs at least one answer")
    p, z2 = hits / n, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def share(histogram: Sequence[int], lowest: int, highest: int, method: str) -> Measure | None:
    """The share of answers from lowest to highest, with Wilson's interval; None without answers."""
    n = sum(histogram)
    if not n:
        return None
    hits = sum(histogram[lowest : highest + 1])
    return Measure(hits / n, *wilson(hits, n), n, method)


def change(
    before: Sequence[int], after: Sequence[int], sides: Callable[[Sequence[int]], tuple[int, int]], scale: float
) -> Change | None:
    """Change of (p - d): `sides` counts those for and those against in a histogram."""
    values, variance = [], 0.0
    for histogram in (before, after):
        n = sum(histogram)
        if not n:
            return None
        p, d = (side / n for side in sides(histogram))
        values.append(p - d)
        variance += (p + d - (p - d) ** 2) / n
    delta, half = scale * (values[1] - values[0]), scale * Z * sqrt(max(0.0, variance))
    return Change(delta, delta - half, delta + half)
