"""Satisfaction as it is asked for: cells or totals added up, and what CSAT, NPS and CES say of the sum."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.survey import RULES as SURVEYS
from projections.declare import Row
from projections.measures.intervals import Measure, wilson
from projections.measures.surveys import average, ces, csat, csat_bottom, mean, nps, response_rate
from projections.satisfaction.cells import DAILY, SCORES, TOTALLED

DIMENSIONS = ("day", *TOTALLED)
"""What a summary can be grouped by, besides metric and scale, by which it always is."""
PERIODS = ("week", "month", "quarter")
"""And these, named by their first day; a week begins on Monday."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The satisfaction of one group, for one metric and scale. `group` has the values of the dimensions asked for.

    `measure` is CSAT, NPS or CES with its interval. It is None, like `mean` and `bottom_two`, when there are fewer than
    the smallest number of answers (then `suppressed`, and `n` says how many), or no convention for metric and scale.
    """

    group: tuple[Any, ...]
    metric: str
    scale: int
    n: int
    suppressed: bool
    measure: Measure | None
    mean: float | None
    mean_interval: tuple[float, float] | None
    """Normal, 95 %; None with fewer than two answers."""
    bottom_two: float | None
    """Share of the answers 1 and 2 of CSAT, 0..1; None for NPS, where detractors say it, and for CES."""
    bottom_two_interval: tuple[float, float] | None
    """Wilson's, like those of the rates."""
    invited: int
    bounced: int
    declined: int
    answered: int
    partial: int
    response_rate: float | None
    """Finished answers of the invitations that arrived, 0..1; None when fewer than the smallest n arrived."""
    response_interval: tuple[float, float] | None
    partial_rate: float | None
    """Unfinished answers of the invitations that arrived, 0..1, under the same condition."""
    partial_interval: tuple[float, float] | None


def summarise(
    rows: Iterable[Row], *, by: Sequence[str] = (), min_n: int = SURVEYS.latest.smallest_n
) -> tuple[Summary, ...]:
    """Counters with metric, scale and the dimensions in `by`, added up for each of these.

    In the order of group, metric and scale. Raises ValueError for a dimension that does not exist.
    """
    known = (*DIMENSIONS, *PERIODS)
    if wrong := set(by) - set(known):
        raise ValueError(f"no dimension {', '.join(sorted(wrong))}: choose among {', '.join(known)}")
    groups: dict[tuple[tuple[Any, ...], str, int], dict[str, int]] = {}
    for row in rows:
        key = (tuple(row[name] for name in by), row["metric"], row["scale"])
        total = groups.setdefault(key, dict.fromkeys(DAILY.columns, 0))
        for name in DAILY.columns:
            total[name] += row[name]
    return tuple(_summary(*key, total, min_n) for key, total in sorted(groups.items(), key=lambda one: one[0]))


def _summary(group: tuple[Any, ...], metric: str, scale: int, total: dict[str, int], min_n: int) -> Summary:
    histogram = [total[name] for name in SCORES]
    n = sum(histogram)
    shown = n > 0 and n >= min_n
    mean_of = mean(histogram) if shown else None
    bottom = csat_bottom(histogram) if shown and (metric, scale) == ("csat", 5) else None
    response, response_interval = _of_arrived(total, "answered", min_n)
    partial, partial_interval = _of_arrived(total, "partial", min_n)
    return Summary(
        group=group,
        metric=metric,
        scale=scale,
        n=n,
        suppressed=not shown,
        measure=measure_of(metric, scale, histogram) if shown else None,
        mean=average(histogram) if shown else None,
        mean_interval=(mean_of.low, mean_of.high) if mean_of else None,
        bottom_two=bottom.value if bottom else None,
        bottom_two_interval=(bottom.low, bottom.high) if bottom else None,
        invited=total["invited"],
        bounced=total["bounced"],
        declined=total["declined"],
        answered=total["answered"],
        partial=total["partial"],
        response_rate=response,
        response_interval=response_interval,
        partial_rate=partial,
        partial_interval=partial_interval,
    )


def _of_arrived(total: dict[str, int], name: str, min_n: int) -> tuple[float | None, tuple[float, float] | None]:
    """The share of the invitations that arrived, with its interval."""
    arrived = total["invited"] - total["bounced"]
    if arrived < min_n:
        return None, None
    # More answers than invitations can be there: of invitations that are counted on other days, or in error.
    interval = wilson(total[name], arrived) if 0 <= total[name] <= arrived != 0 else None
    return response_rate(total[name], total["invited"], total["bounced"]), interval


def measure_of(metric: str, scale: int, histogram: list[int]) -> Measure | None:
    """CSAT, NPS or CES of a histogram; None where metric and scale have no convention."""
    match metric, scale:
        case "csat", 5:
            return csat(histogram)
        case "nps", 10:
            return nps(histogram)
        case "ces", 5 | 7:
            return ces(histogram, scale)
        case _:
            return None
