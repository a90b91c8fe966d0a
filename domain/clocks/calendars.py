"""The named calendars of `domain/rules/calendars.toml`, each in its versions.

A deadline counts with the version that was in force when its clock began, so it is the same whenever it is worked out.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import msgspec

from domain.clocks.business_calendar import BusinessCalendar, Hours
from domain.rules import Rule, UnusableRules, Versions, read


class CalendarRule(Rule, frozen=True):
    """One version of a calendar. Hours are `HH:MM-HH:MM`, several with a blank between; dates `MM-DD`, by year."""

    zone: str
    week: tuple[str, ...]
    """Monday to Sunday."""
    holidays: dict[str, str] = msgspec.field(default_factory=dict)
    holidays_of: str | None = None
    half_days: dict[str, str] = msgspec.field(default_factory=dict)
    half_day: str = ""
    make_up_days: dict[str, str] = msgspec.field(default_factory=dict)
    """Days of a weekend or holiday that are worked with the hours of a Monday."""


Rules = Mapping[str, Versions[CalendarRule]]
Made = Mapping[str, tuple[Versions[CalendarRule], Mapping[int, BusinessCalendar]]]
"""Calendar -> its rules, and the calendar of each version."""

RULES = read("calendars", CalendarRule)


def hours_of(text: str) -> tuple[Hours, ...]:
    """`09:00-12:30 13:30-17:00` as intervals. Raises ValueError."""
    pairs = (interval.partition("-") for interval in text.split())
    return tuple(Hours(time.fromisoformat(start), time.fromisoformat(end)) for start, _, end in pairs)


def dates_of(table: Mapping[str, str]) -> frozenset[date]:
    """The dates of a table by year."""
    return frozenset(date.fromisoformat(f"{year}-{day}") for year, days in table.items() for day in days.split())


def _made(name: str, rule: CalendarRule, rules: Rules) -> BusinessCalendar:
    of = rule if rule.holidays_of is None else rules[rule.holidays_of].on(rule.effective_from)
    week = tuple(hours_of(day) for day in rule.week)
    ZoneInfo(rule.zone)
    single = dict.fromkeys(dates_of(rule.half_days), hours_of(rule.half_day))
    single |= dict.fromkeys(dates_of(rule.make_up_days), week[0])
    return BusinessCalendar(name, rule.zone, week, dates_of(of.holidays), single, rule.version)


def made(rules: Rules) -> Made:
    """Each calendar with its versions. Raises UnusableRules when one has impossible hours, dates or places."""
    found = {}
    for name, versions in rules.items():
        try:
            found[name] = (versions, {rule.version: _made(name, rule, rules) for rule in versions})
        except (ValueError, LookupError) as error:  # of hours and dates, of a zone, of whose holidays
            raise UnusableRules(f"calendars.{name}: {error}") from error
    return found


_ALL = made(RULES)
CALENDARS: Mapping[str, BusinessCalendar] = {
    name: calendars[versions.latest.version] for name, (versions, calendars) in _ALL.items()
}
"""By name, each in its newest version."""


def calendar(name: str, start: datetime, among: Made = _ALL) -> BusinessCalendar:
    """The version of a calendar for a clock that began then, by the date in UTC."""
    versions, calendars = among[name]
    if len(calendars) == 1:
        return calendars[versions.latest.version]
    return calendars[versions.on(start.astimezone(UTC).date()).version]
