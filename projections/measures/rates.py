"""Counts over exposure, and what changed between two periods. z is that of a two-sided 95 % interval."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import exp, lgamma, log, sqrt

from projections.measures.intervals import Change, Measure, Z, wilson

TAIL = 0.025
"""What a two-sided 95 % interval leaves on each side."""
EXACT_BELOW = 10
"""From this count on Byar's approximation is as good as the exact interval."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A later rate over an earlier one with its interval; `value` or `high` is None where it has no bound."""

    value: float | None
    low: float
    high: float | None

    @property
    def significant(self) -> bool:
        """More than chance explains: the interval leaves out 1."""
        return self.low > 1 or (self.high is not None and self.high < 1)


def poisson_interval(count: int) -> tuple[float, float]:
    """The interval of the mean of a Poisson count. Raises ValueError for a negative count.

    Below 10 the exact one (Garwood, Biometrika 28, 1936), from 10 on Byar's approximation (Breslow and Day,
    Statistical Methods in Cancer Research II, IARC 1987, page 69).
    """
    if count < 0:
        raise ValueError("a count is not negative")
    if count < EXACT_BELOW:
        return _exact(count)
    above = count + 1
    return (
        count * (1 - 1 / (9 * count) - Z / (3 * sqrt(count))) ** 3,
        above * (1 - 1 / (9 * above) + Z / (3 * sqrt(above))) ** 3,
    )


@cache
def _exact(count: int) -> tuple[float, float]:
    low = 0.0 if not count else _solve(lambda mean: poisson_tail(count, mean) > TAIL, count)
    return low, _solve(lambda mean: 1 - poisson_tail(count + 1, mean) < TAIL, 4.0 * count + 8)


def poisson_tail(least: int, mean: float) -> float:
    """The probability of at least so many, when `mean` are expected."""
    if least <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    below = sum(exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(least))
    return max(0.0, 1 - below)


def _solve(is_beyond: Callable[[float], bool], highest: float) -> float:
    """Where a condition that is false at 0 and true at the other end begins to hold."""
    low, high = 0.0, float(highest)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if is_beyond(middle) else (middle, high)
    return high


def rate(count: int, exposure: float, per: int = 1000) -> Measure | None:
    """So many per `per` units of exposure, with the interval of the count; None without exposure.

    `n` is the count: it decides how wide the interval is.
    """
    if exposure <= 0:
        return None
    low, high = poisson_interval(count)
    factor = per / exposure
    return Measure(count * factor, low * factor, high * factor, count, f"per {per:,}, Poisson")


def rate_ratio(before: int, exposure_before: float, after: int, exposure_after: float) -> Ratio | None:
    """The later rate over the earlier one, with its score interval; None without exposure or without any count.

    Of so many events in all, the later ones are a share; Wilson's interval of that share becomes one of the ratio. That
    is the likelihood score interval of Graham, Mayne and Moffatt (Statistics in Medicine 22, 2003); it takes counts of
    0, too.
    """
    total = before + after
    if exposure_before <= 0 or exposure_after <= 0 or not total:
        return None
    scale = exposure_before / exposure_after

    def odds(share: float) -> float:
        return scale * share / (1 - share)

    low, high = wilson(after, total)
    if not before:  # where the bound is 1 exactly, and rounding could leave it a little below
        return Ratio(None, odds(low), None)
    value = after * exposure_before / (before * exposure_after)
    return Ratio(value, odds(low) if after else 0.0, odds(high))


def share_change(before: int, of_before: int, after: int, of_after: int) -> Change | None:
    """Change of a share, with the hybrid score interval; None when a period has nothing to take a share of.

    Method 10 of Newcombe (Statistics in Medicine 17, 1998, pages 873 to 890): Wilson's intervals of both shares.
    """
    if not of_before or not of_after:
        return None
    first, second = before / of_before, after / of_after
    (low_1, high_1), (low_2, high_2) = wilson(before, of_before), wilson(after, of_after)
    delta = second - first
    return Change(
        delta,
        delta - sqrt((second - low_2) ** 2 + (high_1 - first) ** 2),
        delta + sqrt((high_2 - second) ** 2 + (first - low_1) ** 2),
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of which only these sums were kept."""

    n: int
    total: int
    squares: int

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self.total / self.n if self.n else None

    @property
    def error(self) -> float | None:
        """The squared standard error of the mean; None with fewer than two values, which give none."""
        if self.n < 2:
            return None
        # In whole numbers as long as possible: two large sums would cancel each other out.
        return max(0, self.n * self.squares - self.total**2) / (self.n - 1) / self.n**2


def mean_change(before: Sample, after: Sample) -> Change | None:
    """Change of a mean, with the normal interval of two samples of unequal variance (Welch, Biometrika 34, 1947).

    None when a period has fewer than two values. For large samples: it takes z where few values would need Student's t.
    """
    if before.error is None or after.error is None or before.mean is None or after.mean is None:
        return None
    delta, half = after.mean - before.mean, Z * sqrt(before.error + after.error)
    return Change(delta, delta - half, delta + half)
