"""Root causes: clusters of complaints (product, cause and branch) against their own year."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from math import floor, sqrt

from projections.measures.rates import poisson_tail
from projections.outcomes.rules import CLUSTERS, ClusterRule
from projections.outcomes.summaries import Window

STATES = ("alert", "new", "usual", "too early")
"""In the order in which clusters are listed. Of the first two somebody should look at the cases."""


@dataclass(frozen=True, slots=True)
class Periods:
    """The last period, the whole periods before it that are known, and how many they are."""

    last: Window
    before: Window | None
    number: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """Complaints of one product, cause and branch in the last period, against what its own year lets expect.

    `new` is an alert of a cluster that had no complaint in its year; `too early` says that no year is known.
    """

    product: str
    cause: str
    branch: str
    count: int
    mean: float
    """Complaints per period before; 0 when nothing is known."""
    threshold: float
    state: str
    chance: float | None
    """How likely so many or more would be if the mean held; None without one."""


@dataclass(frozen=True, slots=True)
class RootCauses:
    """All clusters that had a complaint. So many were looked at that some alerts are chance: `by_chance` says how many.

    It counts clusters with a mean: whether a new one is chance cannot be said.
    """

    periods: Periods
    looked_at: int
    alerts: int
    by_chance: float
    clusters: tuple[Cluster, ...]


def periods_until(day: date, first: date | None, rule: ClusterRule = CLUSTERS.latest) -> Periods:
    """The periods that end with a day, when `first` is the first day on which any complaint was received.

    Only whole periods since then count, so that days before the bank's history are not taken for days without any.
    """
    last = Window.up_to(day, rule.period_days)
    known = 0 if first is None else max(0, (last.first - first).days // rule.period_days)
    number = min(rule.periods, known)
    end = last.first - timedelta(days=1)
    return Periods(last, Window.up_to(end, number * rule.period_days) if number else None, number)


def root_causes(
    counts: Iterable[tuple[str, str, str, int, int]], periods: Periods, rule: ClusterRule = CLUSTERS.latest
) -> RootCauses:
    """Judge clusters: product, cause, branch, complaints of the last period and of all periods before together."""
    clusters, by_chance = [], 0.0
    for product, cause, branch, count, before in counts:
        mean = before / periods.number if periods.number else 0.0
        threshold = mean + rule.multiplier * sqrt(mean)
        state = "usual"
        if periods.number < rule.fewest_periods:
            state = "too early"
        elif count >= rule.smallest_count and count > threshold:
            state = "alert" if mean else "new"
        if mean and state != "too early":
            by_chance += poisson_tail(max(rule.smallest_count, floor(threshold) + 1), mean)
        chance = poisson_tail(count, mean) if mean else None
        clusters.append(Cluster(product, cause, branch, count, mean, threshold, state, chance))
    clusters.sort(key=_rank)
    alerts = sum(one.state in STATES[:2] for one in clusters)
    return RootCauses(periods, len(clusters), alerts, by_chance, tuple(clusters))


def _rank(of: Cluster) -> tuple[int, float, str, str, str]:
    """By state, then by how far above what was expected."""
    above = (of.count - of.mean) / sqrt(of.mean) if of.mean else float(of.count)
    return STATES.index(of.state), -above, of.product, of.cause, of.branch
