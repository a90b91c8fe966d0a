"""Kaplan-Meier: how long something takes, when some of it is not over yet.

Kaplan and Meier (1958), https://en.wikipedia.org/wiki/Kaplan%E2%80%93Meier_estimator . Times are whole numbers of any
unit. What is not over yet counts as being at risk up to and at its time, and is lost sight of after it.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Survival:
    """S(t), the share that takes longer than t: a step down at each time at which something was finished."""

    times: tuple[int, ...]
    shares: tuple[float, ...]
    finished: int
    """How many the curve was made from."""

    def beyond(self, time: float) -> float:
        """The share that takes longer than this, 0..1."""
        index = bisect_right(self.times, time)
        return self.shares[index - 1] if index else 1.0

    def missed(self, elapsed: float, allowed: float) -> float | None:
        """The probability that what has taken `elapsed` takes longer than `allowed`; None where nothing tells.

        It is S(allowed) / S(elapsed). Of what has taken longer than anything that was ever finished nothing is known.
        """
        if elapsed >= allowed:
            return 1.0
        there = self.beyond(elapsed)
        return self.beyond(allowed) / there if there else None


def kaplan_meier(finished: Mapping[int, int], running: Mapping[int, int]) -> Survival:
    """The curve of how many were finished after each time, and of how many have been running for each time."""
    at_risk = sum(finished.values()) + sum(running.values())
    share, times, shares = 1.0, [], []
    for time in sorted({*finished, *running}):
        done = finished.get(time, 0)
        if done:
            share *= 1 - done / at_risk
            times.append(time)
            shares.append(share)
        at_risk -= done + running.get(time, 0)
    return Survival(tuple(times), tuple(shares), sum(finished.values()))
