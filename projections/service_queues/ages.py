"""How old open items are, in calendar and in business time, as nearest-rank percentiles.

Business time is monotone in calendar time, so both percentiles are those of the same item: only its age is looked up.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import ceil

from domain.clocks import BusinessCalendar
from projections.measures.times import seconds_between

SHARES = (0.5, 0.9, 1.0)
"""The median, the ninetieth percentile, and the greatest."""


def ranked(opened: Iterable[datetime]) -> tuple[datetime, ...]:
    """The items of which half, a tenth and none are older: since when they are open. Empty without items."""
    youngest_first = sorted(opened, reverse=True)
    return tuple(youngest_first[ceil(share * len(youngest_first)) - 1] for share in SHARES if youngest_first)


def business_ages(calendar: BusinessCalendar, opened: Sequence[datetime], now: datetime) -> list[int]:
    """Open seconds of the calendar from each moment to now, whole; each day in between is looked at once for all."""
    if not opened:
        return []
    day, last = calendar.local_date(min(opened)), calendar.local_date(now)
    before: list[float] = []  # open seconds of all days before the n-th
    total, first = 0.0, day
    while day <= last:
        before.append(total)
        total += calendar.business_seconds(calendar.midnight(day), calendar.midnight(day + timedelta(days=1)))
        day += timedelta(days=1)

    def at(moment: datetime) -> float:
        date = calendar.local_date(moment)
        return before[(date - first).days] + calendar.business_seconds(calendar.midnight(date), moment)

    end = at(now)
    return [int(end - at(moment)) if moment < now else 0 for moment in opened]


def calendar_ages(opened: Sequence[datetime], now: datetime) -> list[int]:
    """Seconds from each moment to now, whole; 0 where the channels' clocks disagree."""
    return [seconds_between(moment, now) for moment in opened]
