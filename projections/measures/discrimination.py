"""How well a score tells those who leave from those who stay, and how stable and how well calibrated it is.

Labels are 1 for those who left and 0 for those who stayed; scores rise with the risk.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from math import log

FLOOR = 1e-4
"""The least share of a bin in the stability index, so that an empty one does not make it infinite."""


def auc(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The area under the ROC curve: the chance that one who left scores above one who stayed; ties count half.

    Raises ValueError when all labels are the same.
    """
    area, seen_good = 0.0, 0
    good, bad = _sizes(labels)
    for goods, bads in _by_score(scores, labels):
        area += bads * (seen_good + goods / 2)
        seen_good += goods
    return area / (good * bad)


def ks(scores: Sequence[float], labels: Sequence[int]) -> float:
    """Kolmogorov-Smirnov: the widest gap between the shares of both kinds below any score. Raises ValueError."""
    good, bad = _sizes(labels)
    seen_good = seen_bad = 0
    widest = 0.0
    for goods, bads in _by_score(scores, labels):
        seen_good, seen_bad = seen_good + goods, seen_bad + bads
        widest = max(widest, abs(seen_good / good - seen_bad / bad))
    return widest


def _sizes(labels: Sequence[int]) -> tuple[int, int]:
    bad = sum(labels)
    good = len(labels) - bad
    if not good or not bad:
        raise ValueError("some must have left and some must have stayed")
    return good, bad


def _by_score(scores: Sequence[float], labels: Sequence[int]) -> Iterator[tuple[int, int]]:
    """How many of each kind have a score, from the lowest score on."""
    for _, same in groupby(sorted(zip(scores, labels, strict=True)), key=lambda one: one[0]):
        kinds = [label for _, label in same]
        yield len(kinds) - sum(kinds), sum(kinds)


def shares(scores: Sequence[float], cuts: Sequence[float]) -> list[float]:
    """The share of scores below the first cut, from each cut to the next, and from the last on; or zeros."""
    counts = [0] * (len(cuts) + 1)
    for score in scores:
        counts[bisect_right(cuts, score)] += 1
    return [n / max(1, len(scores)) for n in counts]


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """The population stability index of two distributions over the same bins: sum of (a - e) * ln(a / e).

    Below 0.1 nothing to speak of changed; above 0.25 the population is another one (the usual rule of thumb).
    """
    pairs = [(max(e, FLOOR), max(a, FLOOR)) for e, a in zip(expected, actual, strict=True)]
    return sum((a - e) * log(a / e) for e, a in pairs)


def brier(probabilities: Sequence[float], labels: Sequence[int]) -> float:
    """The mean squared error of the probabilities."""
    return sum((p - y) ** 2 for p, y in zip(probabilities, labels, strict=True)) / len(labels)


def tenths(probabilities: Sequence[float], labels: Sequence[int], parts: int = 10) -> list[tuple[int, float, float]]:
    """Customers by their probability in so many parts of one size: how many, how many should leave, how many left."""
    ordered = sorted(zip(probabilities, labels, strict=True))
    bounds = [round(k * len(ordered) / parts) for k in range(parts + 1)]
    groups = [ordered[a:b] for a, b in pairwise(bounds) if b > a]
    return [(len(g), sum(p for p, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def calibration_error(probabilities: Sequence[float], labels: Sequence[int]) -> float:
    """The expected calibration error: the mean distance of forecast and observed share over tenths of the customers."""
    groups = tenths(probabilities, labels)
    return sum(n * abs(forecast - observed) for n, forecast, observed in groups) / len(labels)


def woe(good: int, bad: int, all_good: int, all_bad: int) -> float:
    """The weight of evidence of a bin, ln(%good / %bad), with half a customer added to each so that none is empty."""
    return log((good + 0.5) / (all_good + 0.5)) - log((bad + 0.5) / (all_bad + 0.5))


def information_value(bins: Sequence[tuple[int, int]]) -> float:
    """How much a feature says: the sum of (%good - %bad) * WOE over its bins of (good, bad)."""
    all_good, all_bad = sum(good for good, _ in bins), sum(bad for _, bad in bins)
    if not all_good or not all_bad:
        raise ValueError("some must have left and some must have stayed")
    return sum((g / all_good - b / all_bad) * woe(g, b, all_good, all_bad) for g, b in bins)
