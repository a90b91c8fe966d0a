"""Percentiles and probabilities."""

from collections.abc import Mapping
from math import ceil, exp


def nearest_rank(counts: Mapping[int, int], share: float) -> int | None:
    """The smallest value that at least `share` (0..1) of all do not exceed; `counts` says how often each occurs."""
    rank = max(1, ceil(share * sum(counts.values())))
    reached = 0
    for value in sorted(counts):
        reached += counts[value]
        if reached >= rank:
            return value
    return None


def logistic(log_odds: float) -> float:
    """The probability, 0..1, at these log odds. Never overflows."""
    if log_odds >= 0:
        return 1 / (1 + exp(-log_odds))
    odds = exp(log_odds)
    return odds / (1 + odds)
