"""Over which times features are measured, and what is kept for them: domain/rules/retention_windows.toml.

A moment is measured with the version in force then. What is kept is enough for every version, because a row is measured
at moments that are still to come. So a new version of the windows is a new version of the projection: rows that were
folded before may have kept too little, and do not know when the new windows begin.

Seconds and days are those since 1970-01-01 (UTC).
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from domain.rules import Rule, Versions, read

DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
LAST_SECOND = 253_402_300_799
"""The end of the calendar: 9999-12-31T23:59:59Z."""


class Windows(Rule, frozen=True):
    """Lengths in days unless they say otherwise. A quarter and a month are whole periods."""

    period_days: int
    quarter_days: int
    month_days: int
    year_months: int
    salaries: int
    salaries_within_days: int
    sources: int

    def __post_init__(self) -> None:
        """Raises ValueError, which msgspec gives the place in the file."""
        if self.quarter_days % self.period_days or self.month_days % self.period_days or self.year_months % 2:
            raise ValueError("give a quarter and a month of whole periods, and a year of two halves")


@dataclass(frozen=True, slots=True)
class Spans:
    """One version of the windows as measures use it: days, and numbers of periods.

    A period is `grains` of what rows keep.
    """

    period: int
    quarter: int
    month: int
    months: int
    year: int
    periods_of_quarter: int
    periods_of_month: int
    periods_of_year: int
    grains: int
    salaries: int
    salaries_within: int
    sources: int

    @classmethod
    def of(cls, rule: Windows, grain: int) -> "Spans":
        """Periods of a version, each so many days of `grain`."""
        year = rule.year_months * rule.month_days
        return cls(
            period=rule.period_days,
            quarter=rule.quarter_days,
            month=rule.month_days,
            months=rule.year_months,
            year=year,
            periods_of_quarter=rule.quarter_days // rule.period_days,
            periods_of_month=rule.month_days // rule.period_days,
            periods_of_year=year // rule.period_days,
            grains=rule.period_days // grain,
            salaries=rule.salaries,
            salaries_within=rule.salaries_within_days,
            sources=rule.sources,
        )

    @property
    def half_months(self) -> int:
        """Of the year."""
        return self.months // 2

    def last_grain(self, period: int) -> int:
        """The last grain of a period."""
        return (period + 1) * self.grains - 1


@dataclass(frozen=True, slots=True)
class Kept:
    """How much rows keep, so that each of some versions can be measured.

    `grain` are the days that a number of a period stands for: every period is a whole number of them.
    """

    grain: int
    balances: int
    """Grains of balances: of both quarters, and the last known before them."""
    series: Mapping[str, tuple[int, int]]
    """Of what is counted, the days that a number stands for, and how many numbers: contacts of a month and the year
    before, postings of both quarters, and those of a year by grain.
    """
    salaries: int
    sources: int

    @classmethod
    def of(cls, versions: Iterable[Windows]) -> "Kept":
        """What is enough for all of these."""
        rules = list(versions)
        grain = math.gcd(*(one.period_days for one in rules))
        return cls(
            grain=grain,
            balances=max(2 * one.quarter_days // grain for one in rules) + 1,
            series={
                "contacts": (1, max((one.year_months + 1) * one.month_days for one in rules)),
                "posted": (1, max(2 * one.quarter_days for one in rules)),
                "year": (grain, max(one.year_months * one.month_days // grain for one in rules)),
            },
            salaries=max(one.salaries for one in rules),
            sources=max(one.sources for one in rules),
        )


class Measured:
    """The windows at any second, by versions that say from when they apply."""

    __slots__ = ("_begins", "_spans", "kept")

    def __init__(self, versions: Versions[Windows]) -> None:
        rules = list(versions)
        self.kept = Kept.of(rules)
        self._spans = [Spans.of(one, self.kept.grain) for one in rules]
        self._begins = [day_of(one.effective_from) * DAY for one in rules[1:]]

    def at(self, second: int) -> tuple[Spans, int]:
        """The windows in force, and the second at which others begin."""
        index = bisect_right(self._begins, second)
        return self._spans[index], self._begins[index] if index < len(self._begins) else LAST_SECOND


def second_of(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return math.floor(moment.timestamp())


def day_of(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - EPOCH


def iso(day: int) -> str:
    """The day as people write it."""
    return date.fromordinal(EPOCH + day).isoformat()


WINDOWS = read("retention_windows", Windows)["windows"]
RELEASED = Measured(WINDOWS)
KEPT = RELEASED.kept
