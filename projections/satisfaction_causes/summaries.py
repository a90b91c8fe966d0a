"""How much more often something came before a low answer than before the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projections.measures.intervals import risk_ratio

CAUSES = {
    "reopened": "a case was reopened",
    "overdue": "a deadline was missed",
    "transferred": "handed over twice or more",
    "waited": "waited longer than nine of ten",
}
"""What is looked for, by its column."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause, for one metric and scale. `lift` is the share among low answers over that among the others.

    It is None with its interval where a share is 0, or where either side has fewer answers than are shown
    (`suppressed`).
    """

    metric: str
    scale: int
    cause: str
    low: int
    """Low answers; `low_with` is how many of them had it before."""
    low_with: int
    others: int
    others_with: int
    low_share: float | None
    others_share: float | None
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    suppressed: bool


def causes(counted: Mapping[str, Any], min_n: int) -> list[Cause]:
    """Every cause of one metric and scale. `counted` has `low`, `others`, and of each cause `low_` and `others_`."""
    low, others = counted["low"], counted["others"]
    shown = low >= min_n and others >= min_n
    found = []
    for cause in CAUSES:
        low_with, others_with = counted[f"low_{cause}"], counted[f"others_{cause}"]
        ratio = risk_ratio(low_with, low, others_with, others) if shown else None
        value, least, most = ratio or (None, None, None)
        found.append(
            Cause(
                counted["metric"],
                counted["scale"],
                cause,
                low,
                low_with,
                others,
                others_with,
                low_with / low if shown else None,
                others_with / others if shown else None,
                value,
                least,
                most,
                not shown,
            )
        )
    return found
