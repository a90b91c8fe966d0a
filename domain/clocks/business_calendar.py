"""Working days and opening hours of one place, across holidays, half days and changes of daylight saving time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
MIDNIGHT = time(0)


class Hours(NamedTuple):
    """One interval of opening hours in local time. An end of 00:00 is the midnight that ends the day."""

    start: time
    end: time


class Span(NamedTuple):
    """One interval between two instants (UTC), the end excluded."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class BusinessCalendar:
    """When a place works. `weekly` holds the hours of Monday to Sunday; several intervals a day leave room for breaks.

    `half_days` gives single dates hours of their own, make-up working days too, and wins over weekends and holidays.
    `zone` is an IANA name. Raises ValueError when `weekly` has not seven days or no hours at all, or intervals overlap.
    """

    name: str
    zone: str
    weekly: tuple[tuple[Hours, ...], ...]
    holidays: frozenset[date] = frozenset()
    half_days: Mapping[date, tuple[Hours, ...]] = field(default_factory=dict, hash=False)
    version: int = 1

    def __post_init__(self) -> None:
        if len(self.weekly) != 7:
            raise ValueError("a week has seven days: give each its hours, () when closed")
        if not any(self.weekly):
            raise ValueError("a calendar that never opens would never reach a deadline")
        for hours in (*self.weekly, *self.half_days.values()):
            bounds = [bound for interval in hours for bound in interval]
            if bounds and bounds[-1] == MIDNIGHT:
                bounds[-1] = time.max
            if any(left > right for left, right in pairwise(bounds)) or any(
                interval.start == interval.end != MIDNIGHT for interval in hours
            ):
                raise ValueError("the intervals of a day must be in order and must not overlap")

    @property
    def tz(self) -> ZoneInfo:
        """The time zone itself."""
        return ZoneInfo(self.zone)

    def hours(self, day: date) -> tuple[Hours, ...]:
        """The opening hours of a date; empty when closed."""
        if day in self.half_days:
            return self.half_days[day]
        return () if day in self.holidays else self.weekly[day.weekday()]

    def is_business_day(self, day: date) -> bool:
        """Open at least for a part of the day."""
        return bool(self.hours(day))

    def local_date(self, moment: datetime) -> date:
        """The date on the wall of this place."""
        return moment.astimezone(self.tz).date()

    def midnight(self, day: date) -> datetime:
        """The instant at which a local date begins (UTC)."""
        return _instant(self.zone, day, MIDNIGHT)

    def end_of_day(self, day: date) -> datetime:
        """The last microsecond of a local date (UTC): `at <= end` is right for every instant of that date."""
        return self.midnight(day + DAY) - timedelta(microseconds=1)

    def close_of_business(self, day: date) -> datetime:
        """The instant at which the last opening hours of a date end; the end of the day when closed."""
        spans = self._spans(day)
        return spans[-1].end if spans else self.end_of_day(day)

    def add_business_days(self, start: date, n: int) -> date:
        """The n-th business day after `start`, which itself is not counted; `start` for n = 0."""
        day = start
        for _ in range(n):
            day = self.on_or_after(day + DAY)
        return day

    def on_or_after(self, day: date) -> date:
        """The date itself, or the next business day."""
        while not self.is_business_day(day):
            day += DAY
        return day

    def spans(self, start: datetime, end: datetime) -> Iterator[Span]:
        """The opening hours between two instants, cut to them."""
        if start >= end:
            return
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        day, last = self.local_date(start), self.local_date(end)
        while day <= last:
            for span in self._spans(day):
                cut = Span(max(start, span.start), min(end, span.end))
                if cut.start < cut.end:
                    yield cut
            day += DAY

    def business_seconds(self, start: datetime, end: datetime) -> float:
        """Open seconds between two instants, as they really passed; 0 when the end is before the start."""
        return sum((span.end - span.start for span in self.spans(start, end)), timedelta()).total_seconds()

    def add_business_seconds(self, start: datetime, seconds: float) -> datetime:
        """The first instant (UTC) at which so many open seconds have passed since `start`; `start` for 0."""
        start, left = start.astimezone(UTC), timedelta(seconds=seconds)
        if left <= timedelta():
            return start
        day = self.local_date(start)
        while True:
            for span in self._spans(day):
                begin = max(start, span.start)
                if begin < span.end:
                    if left <= span.end - begin:
                        return begin + left
                    left -= span.end - begin
            day += DAY

    def _spans(self, day: date) -> tuple[Span, ...]:
        hours = self.hours(day)
        return _spans(self.zone, day, hours) if hours else ()


@lru_cache(maxsize=4096)
def _spans(zone: str, day: date, hours: tuple[Hours, ...]) -> tuple[Span, ...]:
    """The opening hours of a local date as instants. Kept, since the cases of a year share its few hundred days."""
    spans: list[Span] = []
    for interval in hours:
        begin = _instant(zone, day, interval.start)
        end = _instant(zone, day + DAY if interval.end == MIDNIGHT else day, interval.end)
        if spans:  # where clocks go forward inside the hours, two intervals could claim the same instant
            begin = max(begin, spans[-1].end)
        if begin < end:
            spans.append(Span(begin, end))
    return tuple(spans)


def _instant(zone: str, day: date, at: time) -> datetime:
    return datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC)
