"""Survey metrics over a histogram, which holds at index i how often i was answered."""

from collections.abc import Sequence
from math import sqrt

from projections.measures.intervals import Change, Measure, Z, change, share

BEST = {("csat", 5): 4, ("ces", 5): 4, ("ces", 7): 5}
"""Metric and scale -> the lowest answer that counts as satisfied, or as easy.

No rule of a bank: it is what the convention that `Measure.method` names means, and another one has another name.
"""


def csat(histogram: Sequence[int]) -> Measure | None:
    """Customer satisfaction: the share of answers 4 and 5 on a scale of 1 to 5, with Wilson's interval."""
    return share(histogram, BEST["csat", 5], 5, "top-2-box")


def csat_bottom(histogram: Sequence[int]) -> Measure | None:
    """Customer dissatisfaction: the share of answers 1 and 2 on a scale of 1 to 5, with Wilson's interval."""
    return share(histogram, 1, 2, "bottom-2-box")


def csat_change(before: Sequence[int], after: Sequence[int]) -> Change | None:
    """Change of the top-2-box share, Wald interval of two independent samples; None when a period has no answer."""
    return change(before, after, lambda histogram: (sum(histogram[BEST["csat", 5] : 6]), 0), 1.0)


def ces_change(before: Sequence[int], after: Sequence[int], scale: int = 7) -> Change | None:
    """Change of the share that found it easy, Wald interval; None when a period has no answer."""
    lowest = BEST["ces", scale]
    return change(before, after, lambda histogram: (sum(histogram[lowest : scale + 1]), 0), 1.0)


def ces(histogram: Sequence[int], scale: int = 7) -> Measure | None:
    """Customer effort: the share that found it easy, >= 5 of 7 or >= 4 of 5, with Wilson's interval."""
    return share(histogram, BEST["ces", scale], scale, f"top share of {scale}")


def average(histogram: Sequence[int]) -> float | None:
    """The mean answer, which is also customer effort by its other convention; None without answers."""
    n = sum(histogram)
    return sum(score * count for score, count in enumerate(histogram)) / n if n else None


def mean(histogram: Sequence[int]) -> Measure | None:
    """The mean answer with its normal interval; None with fewer than two answers, which give no interval."""
    n, value = sum(histogram), average(histogram)
    if n < 2 or value is None:
        return None
    variance = sum(count * (score - value) ** 2 for score, count in enumerate(histogram)) / (n - 1)
    half = Z * sqrt(variance / n)
    return Measure(value, value - half, value + half, n, "mean")


def nps(histogram: Sequence[int]) -> Measure | None:
    """Net promoter score, -100..100: share of 9-10 minus share of 0-6.

    The interval is the adjusted Wald of Rocks (2016): three answers are added, three quarters of one to each side. Of
    very few answers that agree it would leave out the score itself, so it is widened to that.
    """
    n = sum(histogram)
    if not n:
        return None
    promoters, detractors = sum(histogram[9:11]), sum(histogram[0:7])
    adjusted = n + 3
    p, d = (promoters + 0.75) / adjusted, (detractors + 0.75) / adjusted
    half = Z * sqrt((p + d - (p - d) ** 2) / adjusted)
    score = 100 * (promoters - detractors) / n
    low, high = max(-100.0, 100 * (p - d - half)), min(100.0, 100 * (p - d + half))
    return Measure(score, min(low, score), max(high, score), n, "adjusted Wald")


def nps_change(before: Sequence[int], after: Sequence[int]) -> Change | None:
    """Change of the net promoter score: significant when it exceeds z * sqrt(SE1^2 + SE2^2).

    SE = sqrt((p + d - (p - d)^2) / n), http://www.cybaea.net/Journal/2016/01/14/NPS-confidence-intervals-stats/ . None
    when a period has no answer. Over few answers that all agree SE is 0: compare only what is not suppressed.
    """
    return change(before, after, lambda histogram: (sum(histogram[9:11]), sum(histogram[0:7])), 100.0)


def response_rate(completed: int, sent: int, bounced: int) -> float | None:
    """Completed of those that arrived, 0..1; None when none arrived."""
    return completed / (sent - bounced) if sent > bounced else None
