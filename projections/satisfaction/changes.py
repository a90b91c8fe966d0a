"""What changed between two periods: each group's difference with its interval.

Of twenty groups that did not change, one differs by chance at 95 %. So `significant` is by the procedure of Benjamini
and Hochberg (1995) over all groups that are compared together: of those that it names, no more than the share of the
rules (domain/rules/comparisons.toml) is expected to be wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.survey import RULES as SURVEYS
from projections.declare import Row
from projections.measures.intervals import Change, benjamini_hochberg
from projections.measures.surveys import ces_change, csat_change, nps_change
from projections.satisfaction.cells import SCORES
from projections.satisfaction.rules import COMPARISONS
from projections.satisfaction.summaries import Summary, summarise


@dataclass(frozen=True, slots=True)
class Difference:
    """One group in both periods. `change` is later less earlier, None when either has too few answers to be shown."""

    group: tuple[Any, ...]
    metric: str
    scale: int
    before: Summary | None
    after: Summary | None
    change: Change | None
    p_value: float | None
    """How likely so large a difference is by chance alone, this group looked at alone."""
    significant: bool
    """Still when all groups are looked at."""


def compare(
    before: Iterable[Row],
    after: Iterable[Row],
    by: Sequence[str] = (),
    min_n: int = SURVEYS.latest.smallest_n,
    false_discoveries: float = COMPARISONS.latest.false_discoveries,
) -> tuple[Difference, ...]:
    """Counters of two periods, as `summarise` takes them, group by group; in the order of group, metric and scale.

    Of those that are `significant` the share `false_discoveries` is expected to be chance.
    """
    rows = [list(before), list(after)]
    summaries = [
        {(one.group, one.metric, one.scale): one for one in summarise(period, by=by, min_n=min_n)} for period in rows
    ]
    histograms = [_histograms(period, by) for period in rows]
    keys = sorted({*summaries[0], *summaries[1]})
    changes = [
        _change(key, summaries[0].get(key), summaries[1].get(key), histograms[0].get(key), histograms[1].get(key))
        for key in keys
    ]
    values = [None if change is None else change.p_value for change in changes]
    named = iter(benjamini_hochberg([value for value in values if value is not None], false_discoveries))
    return tuple(
        Difference(*key, summaries[0].get(key), summaries[1].get(key), change, value, value is not None and next(named))
        for key, change, value in zip(keys, changes, values, strict=True)
    )


_Key = tuple[tuple[Any, ...], str, int]


def _change(
    key: _Key,
    before: Summary | None,
    after: Summary | None,
    earlier: Sequence[int] | None,
    later: Sequence[int] | None,
) -> Change | None:
    if before is None or after is None or before.suppressed or after.suppressed or earlier is None or later is None:
        return None
    match key[1], key[2]:
        case "csat", 5:
            return csat_change(earlier, later)
        case "nps", 10:
            return nps_change(earlier, later)
        case "ces", 5 | 7:
            return ces_change(earlier, later, key[2])
        case _:
            return None


def _histograms(rows: Iterable[Row], by: Sequence[str]) -> dict[_Key, list[int]]:
    found: dict[_Key, list[int]] = {}
    for row in rows:
        key = (tuple(row[name] for name in by), row["metric"], row["scale"])
        counted = found.setdefault(key, [0] * len(SCORES))
        for score, name in enumerate(SCORES):
            counted[score] += row[name]
    return found
