"""Intervals of shares and of their changes. z is that of a two-sided 95 % interval.

A histogram holds at index i how often i was answered, so that rows of any period or group can be added first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, exp, log, sqrt

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

    @property
    def p_value(self) -> float:
        """Two-sided: how likely so large a difference is by chance, from the interval's standard error."""
        error = (self.high - self.low) / (2 * Z)
        if error == 0:
            return 0.0 if self.delta else 1.0
        return erfc(abs(self.delta) / error / sqrt(2))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The Wilson interval of a share, 0..1. Raises ValueError without answers."""
    if n <= 0:
        raise ValueError("a share needs at least one answer")
    p, z2 = hits / n, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which of many findings count, so that no more than this share of them is expected to be wrong.

    Benjamini and Hochberg (1995), https://en.wikipedia.org/wiki/False_discovery_rate#Benjamini%E2%80%93Hochberg_procedure
    """
    ordered, limit = sorted(p_values), -1.0
    for rank, value in enumerate(ordered, start=1):
        if value <= rank / len(ordered) * rate:
            limit = value
    return [value <= limit for value in p_values]


def risk_ratio(hits: int, n: int, other_hits: int, others: int) -> tuple[float, float, float] | None:
    """A share against another one, as their ratio, with the log interval of Katz and others (1978), 95 %.

    None where either share is 0 or has nothing under it: the ratio, or its interval, would have no end.
    """
    if not (hits and other_hits and n and others):
        return None
    ratio = (hits / n) / (other_hits / others)
    half = Z * sqrt(1 / hits - 1 / n + 1 / other_hits - 1 / others)
    return ratio, exp(log(ratio) - half), exp(log(ratio) + half)


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
