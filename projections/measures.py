"""Formulas of survey metrics over counts. Sources are named at each; z is that of a two-sided 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z = 1.959964
SMALLEST_N = 10
"""Below this many answers a score is not shown: it would say more about chance, and about single customers."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A value with its interval and the number of answers; `method` names the convention."""

    value: float
    low: float
    high: float
    n: int
    method: str

    @property
    def suppressed(self) -> bool:
        """Too few answers to show the value."""
        return self.n < SMALLEST_N


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The Wilson interval of a share, 0..1. Raises ValueError without answers."""
    if n <= 0:
        raise ValueError("a share needs at least one answer")
    p, z2 = hits / n, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def csat(histogram: Sequence[int]) -> Measure | None:
    """Customer satisfaction: the share of answers 4 and 5 on a scale of 1 to 5, with Wilson's interval."""
    return _top_share(histogram, 4, 5, "top-2-box")


def ces(histogram: Sequence[int], scale: int = 7) -> Measure | None:
    """Customer effort: the share that found it easy, >= 5 of 7 or >= 4 of 5, with Wilson's interval."""
    return _top_share(histogram, 5 if scale == 7 else 4, scale, f"top share of {scale}")


def ces_mean(histogram: Sequence[int]) -> float | None:
    """Customer effort by the other convention: the mean answer."""
    n = sum(histogram)
    return sum(score * count for score, count in enumerate(histogram)) / n if n else None


def nps(histogram: Sequence[int]) -> Measure | None:
    """Net promoter score, -100..100: share of 9-10 minus share of 0-6.

    The interval is the adjusted Wald of Rocks (2016): three answers are added, three quarters of one to each side.
    """
    n = sum(histogram)
    if not n:
        return None
    promoters, detractors = sum(histogram[9:11]), sum(histogram[0:7])
    adjusted = n + 3
    p, d = (promoters + 0.75) / adjusted, (detractors + 0.75) / adjusted
    half = Z * sqrt((p + d - (p - d) ** 2) / adjusted)
    low, high = max(-100.0, 100 * (p - d - half)), min(100.0, 100 * (p - d + half))
    return Measure(100 * (promoters - detractors) / n, low, high, n, "adjusted Wald")


def response_rate(completed: int, sent: int, bounced: int) -> float | None:
    """Completed of those that arrived, 0..1; None when none arrived."""
    return completed / (sent - bounced) if sent > bounced else None


def _top_share(histogram: Sequence[int], lowest: int, highest: int, method: str) -> Measure | None:
    n = sum(histogram)
    if not n:
        return None
    hits = sum(histogram[lowest : highest + 1])
    return Measure(hits / n, *wilson(hits, n), n, method)
