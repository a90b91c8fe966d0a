"""Working calendars: breaks, half days, holidays and changes of daylight saving time."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.clocks.business_calendar import BusinessCalendar, Hours
from domain.clocks.calendars import CALENDARS, RULES, calendar, made
from domain.rules import Versions
from examples.holiday_dates import holidays_of, make_up_days

YEARS = range(2010, 2036)

LONDON = CALENDARS["uk"]
LUNCH = (Hours(time(9), time(12)), Hours(time(13), time(17)))
BRANCH = BusinessCalendar(
    "branch",
    "Europe/London",
    (LUNCH,) * 5 + ((Hours(time(10), time(13)),), ()),
    holidays=frozenset({date(2026, 12, 25)}),
    half_days={date(2026, 12, 24): (Hours(time(9), time(12)),)},
)
ALWAYS = BusinessCalendar("always", "Europe/London", ((Hours(time(0), time(0)),),) * 7)
NIGHT = BusinessCalendar("night", "Europe/London", ((Hours(time(0), time(1, 45)), Hours(time(2), time(3))),) * 7)
KINDS = [*CALENDARS.values(), BRANCH, ALWAYS, NIGHT]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


calendars = st.sampled_from(KINDS)
moments = st.timedeltas(timedelta(0), timedelta(days=1796)).map(lambda passed: utc(2024, 1, 1) + passed)
days = st.dates(date(2024, 1, 1), date(2028, 12, 1))
spells = st.timedeltas(timedelta(0), timedelta(days=20))


@pytest.mark.parametrize("name", ["uk", "us", "cn"])
def test_holidays_equal_those_of_the_holidays_package(name: str) -> None:
    pinned = {int(year): days for year, days in RULES[name].latest.holidays.items()}
    assert sorted(pinned) == list(YEARS)
    package = holidays_of(name, YEARS)
    assert {year: pinned[year] for year in YEARS} == package


def test_a_branch_in_china_works_on_the_make_up_days_and_the_law_does_not_count_them() -> None:
    """Half days and make-up days are a bank's own hours. Only China moves holidays, and only past years are known."""
    pinned = {int(year): days for year, days in RULES["cn_branch"].latest.make_up_days.items()}
    assert pinned == {year: days for year, days in make_up_days("cn", YEARS).items() if days}
    assert [name for name in ("uk", "us") if any(make_up_days(name, YEARS).values())] == []
    saturday = date(2026, 2, 14)
    assert CALENDARS["cn_branch"].is_business_day(saturday)
    assert not CALENDARS["cn"].is_business_day(saturday)


def test_a_branch_in_england_has_half_days_a_lunch_break_and_saturdays() -> None:
    branch = CALENDARS["uk_branch"]
    opened = [utc(2026, 12, day) for day in (23, 24, 25, 26, 29, 30)]
    hours = [branch.business_seconds(day, day + timedelta(days=1)) / 3600 for day in opened]
    assert hours == [7, 3.5, 0, 0, 7, 7]  # the 26th is Boxing Day, a Saturday
    assert branch.business_seconds(utc(2026, 12, 19), utc(2026, 12, 20)) == 3 * 3600
    assert branch.holidays == CALENDARS["uk"].holidays


def test_a_clock_keeps_the_version_of_the_calendar_that_it_began_with() -> None:
    first = RULES["uk"].latest
    extra = {**first.holidays, "2026": f"{first.holidays['2026']} 06-15"}  # one more, proclaimed in March
    second = replace(first, version=2, effective_from=date(2026, 3, 20), holidays=extra)
    both = made({"uk": Versions("uk", (first, second))})
    before, after = (calendar("uk", utc(2026, 3, day, 12), both) for day in (19, 20))
    assert (before.version, after.version) == (1, 2)
    assert before.add_business_days(date(2026, 6, 12), 1) == date(2026, 6, 15)
    assert after.add_business_days(date(2026, 6, 12), 1) == date(2026, 6, 16)


def test_business_days_skip_weekends_and_holidays() -> None:
    assert LONDON.add_business_days(date(2026, 4, 2), 1) == date(2026, 4, 7)  # over Easter
    assert LONDON.add_business_days(date(2026, 4, 4), 1) == date(2026, 4, 7)  # from a Saturday
    assert LONDON.add_business_days(date(2026, 4, 4), 0) == date(2026, 4, 4)


def test_a_half_day_is_a_business_day_and_a_holiday_is_not() -> None:
    assert BRANCH.is_business_day(date(2026, 12, 24))
    assert not BRANCH.is_business_day(date(2026, 12, 25))
    assert BRANCH.business_seconds(utc(2026, 12, 24), utc(2026, 12, 26)) == 3 * 3600


def test_a_half_day_opens_a_weekend() -> None:
    make_up = BusinessCalendar("cn", "Asia/Shanghai", CALENDARS["cn"].weekly, half_days={date(2026, 2, 14): LUNCH})
    assert make_up.add_business_days(date(2026, 2, 13), 1) == date(2026, 2, 14)


def test_a_break_does_not_count() -> None:
    assert BRANCH.business_seconds(utc(2026, 1, 5, 11), utc(2026, 1, 5, 14)) == 2 * 3600
    assert BRANCH.add_business_seconds(utc(2026, 1, 5, 11), 2 * 3600) == utc(2026, 1, 5, 14)
    assert BRANCH.add_business_seconds(utc(2026, 1, 5, 11), 3600) == utc(2026, 1, 5, 12)


def test_time_goes_on_at_the_next_opening() -> None:
    assert LONDON.add_business_seconds(utc(2026, 4, 2, 15, 30), 3600) == utc(2026, 4, 7, 8, 30)  # 09:30 BST


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_the_days_on_which_clocks_change_have_23_and_25_hours(day: date, hours: int) -> None:
    begin, end = ALWAYS.midnight(day), ALWAYS.end_of_day(day)
    assert ALWAYS.business_seconds(begin, end + timedelta(microseconds=1)) == hours * 3600


def test_hours_that_clocks_skip_are_not_counted_twice() -> None:
    spans = list(NIGHT.spans(utc(2026, 3, 29), utc(2026, 3, 29, 12)))
    assert spans == [(utc(2026, 3, 29, 0), utc(2026, 3, 29, 1, 45)), (utc(2026, 3, 29, 1, 45), utc(2026, 3, 29, 2))]


def test_a_new_york_deadline_keeps_its_local_hour_across_the_change() -> None:
    friday = utc(2026, 3, 6, 20)  # 15:00 EST
    assert CALENDARS["us"].add_business_seconds(friday, 8 * 3600) == utc(2026, 3, 9, 19)  # 15:00 EDT


def test_nothing_is_open_before_the_start() -> None:
    assert LONDON.business_seconds(utc(2026, 1, 6, 12), utc(2026, 1, 5, 12)) == 0


@pytest.mark.parametrize(
    "weekly",
    [
        (LUNCH,) * 5,
        ((),) * 7,
        ((Hours(time(9), time(13)), Hours(time(12), time(17))),) * 7,
        ((Hours(time(9), time(9)),),) * 7,
        ((Hours(time(17), time(9)),),) * 7,
    ],
    ids=["five days", "never open", "overlap", "empty interval", "backwards"],
)
def test_impossible_hours_are_refused(weekly: tuple[tuple[Hours, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"never opens|seven days|intervals"):
        BusinessCalendar("wrong", "UTC", weekly)


@given(calendars, moments, spells, spells)
def test_business_seconds_add_up(calendar: BusinessCalendar, start: datetime, one: timedelta, two: timedelta) -> None:
    middle, end = start + one, start + one + two
    parts = calendar.business_seconds(start, middle) + calendar.business_seconds(middle, end)
    assert calendar.business_seconds(start, end) == pytest.approx(parts, abs=1e-5)


@given(calendars, moments, st.integers(1, 60 * 3600))
def test_added_seconds_are_found_again(calendar: BusinessCalendar, start: datetime, seconds: int) -> None:
    assert calendar.business_seconds(start, calendar.add_business_seconds(start, seconds)) == seconds


@given(calendars, moments, spells, st.integers(0, 50_000), st.integers(0, 50_000))
def test_adding_seconds_is_monotone(
    calendar: BusinessCalendar, start: datetime, later: timedelta, seconds: int, more: int
) -> None:
    end = calendar.add_business_seconds(start, seconds)
    assert start <= end <= calendar.add_business_seconds(start, seconds + more)
    assert end <= calendar.add_business_seconds(start + later, seconds)


@given(calendars, days, st.integers(1, 40), st.integers(0, 40))
def test_adding_business_days_is_monotone_and_additive(calendar: BusinessCalendar, day: date, n: int, m: int) -> None:
    end = calendar.add_business_days(day, n)
    assert day < end
    assert calendar.is_business_day(end)
    assert calendar.add_business_days(end, m) == calendar.add_business_days(day, n + m)
    assert end <= calendar.add_business_days(day + timedelta(days=1), n)
