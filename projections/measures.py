"""Formulas of survey metrics, risks and staffing over counts. z is that of a two-sided 95 % interval.

A histogram holds at index i how often i was answered, so that rows of any period or group can be added first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as count_up
from math import ceil, exp, sqrt

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


def csat(histogram: Sequence[int]) -> Measure | None:
    """Customer satisfaction: the share of answers 4 and 5 on a scale of 1 to 5, with Wilson's interval."""
    return _share(histogram, 4, 5, "top-2-box")


def csat_bottom(histogram: Sequence[int]) -> Measure | None:
    """Customer dissatisfaction: the share of answers 1 and 2 on a scale of 1 to 5, with Wilson's interval."""
    return _share(histogram, 1, 2, "bottom-2-box")


def csat_change(before: Sequence[int], after: Sequence[int]) -> Change | None:
    """Change of the top-2-box share, Wald interval of two independent samples; None when a period has no answer."""
    return _change(before, after, lambda histogram: (sum(histogram[4:6]), 0), 1.0)


def ces(histogram: Sequence[int], scale: int = 7) -> Measure | None:
    """Customer effort: the share that found it easy, >= 5 of 7 or >= 4 of 5, with Wilson's interval."""
    return _share(histogram, 5 if scale == 7 else 4, scale, f"top share of {scale}")


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
    return _change(before, after, lambda histogram: (sum(histogram[9:11]), sum(histogram[0:7])), 100.0)


def response_rate(completed: int, sent: int, bounced: int) -> float | None:
    """Completed of those that arrived, 0..1; None when none arrived."""
    return completed / (sent - bounced) if sent > bounced else None


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


@dataclass(frozen=True, slots=True)
class Staffing:
    """What so many agents achieve on a live channel, by Erlang C."""

    agents: int
    wait_probability: float
    service_level: float
    """Share answered within the target time, 0..1."""
    speed_of_answer: float
    """Mean wait of all, seconds."""
    occupancy: float


def erlang_c(contacts_per_second: float, handling_time: float, agents: int, answer_within: float) -> Staffing | None:
    """Erlang C for a live channel; times in seconds. None when the agents cannot keep up and the queue only grows.

    The formula knows no customers who give up, so it overstates waits where many do. It says nothing about cases.
    """
    load = contacts_per_second * handling_time
    if agents <= load:
        return None
    blocked = 1.0
    for k in range(1, agents + 1):
        blocked = load * blocked / (k + load * blocked)
    waits = blocked / (1 - load / agents * (1 - blocked))
    spare = agents - load
    return Staffing(
        agents=agents,
        wait_probability=waits,
        service_level=1 - waits * exp(-spare * answer_within / handling_time),
        speed_of_answer=waits * handling_time / spare,
        occupancy=load / agents,
    )


def agents_needed(
    contacts_per_second: float, handling_time: float, answer_within: float = 20, service_level: float = 0.8
) -> Staffing:
    """The smallest staff that answers the share `service_level` in time. Raises ValueError for a share of 1 or more."""
    if service_level >= 1:
        raise ValueError("no staff answers every contact in time: ask for less than 1")
    enough = (
        staffing
        for agents in count_up(int(contacts_per_second * handling_time) + 1)
        if (staffing := erlang_c(contacts_per_second, handling_time, agents, answer_within))
        and staffing.service_level >= service_level
    )
    return next(enough)


def _share(histogram: Sequence[int], lowest: int, highest: int, method: str) -> Measure | None:
    n = sum(histogram)
    if not n:
        return None
    hits = sum(histogram[lowest : highest + 1])
    return Measure(hits / n, *wilson(hits, n), n, method)


def _change(
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
