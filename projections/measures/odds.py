"""Odds and probabilities."""

from math import exp


def logistic(log_odds: float) -> float:
    """The probability, 0..1, at these log odds. Never overflows."""
    if log_odds >= 0:
        return 1 / (1 + exp(-log_odds))
    odds = exp(log_odds)
    return odds / (1 + odds)
