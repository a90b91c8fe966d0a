"""What is kept of a customer, at a second, and what a measure of it is.

A measure gives a number, or None when it is not known, and the next second at which it may be another one; of those
that grow with time alone, the next second at which they reach one of `steps`. Until that second the number stays in its
bin, and so does what is shown of it.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from projections.retention_risk.windows import DAY, LAST_SECOND, RELEASED, Measured

Features = dict[str, Any]
Number = float | None
Steps = tuple[int, ...]
"""Whole days at which a feature that grows with time enters another bin."""


@dataclass(frozen=True, slots=True)
class Year:
    """The transactions of a year of periods, this one included, and of its last and first half."""

    count: int
    amount: int
    half_count: tuple[int, int]
    half_amount: tuple[int, int]
    quiet: int
    """Months without a transaction."""
    changes: int


class Sheet:
    """What is kept of a customer, at a second; and what several features share, made once.

    The moment must not be before the last event that `features` know of. `until` is the second at which other windows
    begin.
    """

    __slots__ = ("at", "credit", "features", "spans", "today", "until", "year")

    def __init__(self, features: Features, second: int, windows: Measured = RELEASED) -> None:
        self.features, self.at, self.today = features, second, second // DAY
        self.spans, self.until = windows.at(second)
        self.year: Year | None = None
        self.credit: tuple[int, int] | None = None


Measure = Callable[[Sheet, Steps], tuple[Number, int]]


def grown(sheet: Sheet, since: int, steps: Steps) -> tuple[int, int]:
    """Whole days since a second, and the second at which they reach the next step."""
    days = (sheet.at - since) // DAY
    index = bisect_right(steps, days)
    return days, since + steps[index] * DAY if index < len(steps) else LAST_SECOND
