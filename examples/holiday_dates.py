"""Public holidays as the calendars of `domain/rules/calendars.toml` hold them, from the `holidays` package.

    python -m examples.holiday_dates uk 2010 2035

prints the lines of one calendar's table. The dates are pinned in the data file, since a deadline must not move when a
package is updated; a test compares them year by year.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import holidays

PLACES: Mapping[str, tuple[str, str | None]] = {"uk": ("GB", "ENG"), "us": ("US", None), "cn": ("CN", None)}
"""Calendar -> country and part of it."""


def holidays_of(name: str, years: range) -> dict[int, str]:
    """Year -> the dates of its holidays, `MM-DD` with blanks between."""
    country, part = PLACES[name]
    found = holidays.country_holidays(country, subdiv=part, years=years)
    return {year: _days(day for day in found if day.year == year) for year in years}


def make_up_days(name: str, years: range) -> dict[int, str]:
    """Year -> the weekend days that are worked in place of a day off: China moves holidays that way."""
    country, part = PLACES[name]
    found = holidays.country_holidays(country, subdiv=part, years=years)
    return {year: _days(day for day in getattr(found, "weekend_workdays", ()) if day.year == year) for year in years}


def _days(days: Iterable[date]) -> str:
    return " ".join(f"{day:%m-%d}" for day in sorted(days))


def main(arguments: Sequence[str]) -> None:
    """Print the table of a calendar for the years from the first to the last one."""
    name, first, last = arguments[0], int(arguments[1]), int(arguments[2])
    years = range(first, last + 1)
    for title, table in (("holidays", holidays_of(name, years)), ("make-up days", make_up_days(name, years))):
        print(f"# {title}")
        print("\n".join(f'{year} = "{days}"' for year, days in table.items() if days))


if __name__ == "__main__":
    main(sys.argv[1:])
