"""Over which times features are measured: domain/rules/retention_windows.toml.

Seconds and days are those since 1970-01-01 (UTC).
"""

import math
from datetime import date, datetime

from domain.rules import Rule, read


class Windows(Rule, frozen=True):
    """Lengths in days unless they say otherwise."""

    period_days: int
    quarter_days: int
    month_days: int
    year_months: int
    salaries: int
    salaries_within_days: int
    sources: int


# One version for all: what a row keeps was kept for the windows of its projection's version.
_NOW = read("retention_windows", Windows)["windows"].pinned(1)
PERIOD, QUARTER, MONTH, MONTHS = _NOW.period_days, _NOW.quarter_days, _NOW.month_days, _NOW.year_months
YEAR = MONTHS * MONTH
SALARIES, SALARIES_WITHIN, SOURCES = _NOW.salaries, _NOW.salaries_within_days, _NOW.sources

DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
LAST_SECOND = 253_402_300_799
"""The end of the calendar: 9999-12-31T23:59:59Z."""


def second_of(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return math.floor(moment.timestamp())


def day_of(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - EPOCH


def iso(day: int) -> str:
    """The day as people write it."""
    return date.fromordinal(EPOCH + day).isoformat()
