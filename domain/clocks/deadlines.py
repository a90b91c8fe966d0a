"""From a start, granted extensions and pauses to a deadline.

Days are dates on the wall of the calendar's place. The day of the start is not counted; the last day counts to its
end. A pause stops whole days: from the date on which it begins to the date before work goes on (a pause that begins on
the day of the start: from the day after to the date on which work goes on). So a pause within one day changes nothing.
"""

from calendar import monthrange
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from domain.clocks.business_calendar import DAY, BusinessCalendar, Span
from domain.clocks.calendars import calendar as calendar_of
from domain.clocks.errors import ExtensionRefused, TimeOutOfRange
from domain.clocks.presets import Extension, Kind, Preset

Pause = tuple[datetime, datetime | None, str]
"""Start, end (None while it lasts) and reason."""

HOUR = 3600


def due(
    preset: Preset,
    start: datetime,
    *,
    extensions: int = 0,
    pauses: Sequence[Pause] = (),
    as_of: datetime | None = None,
    calendar: BusinessCalendar | None = None,
    cycles_end: date | None = None,
) -> datetime:
    """The last instant (UTC) at which the case is still in time.

    `extensions` is how many of the preset's extensions were granted. Pauses whose reason the preset does not list do
    not count; one that still lasts counts up to `as_of`, or not at all without it. `calendar` replaces the preset's
    own, e.g. by that of a branch. `cycles_end` is the end of the billing cycles that the preset knows: the deadline is
    no later. Raises ExtensionRefused when the preset has fewer extensions, TimeOutOfRange.
    """
    count, kind = period(preset, extensions)
    place = calendar or calendar_of(preset.calendar, start)
    try:
        stopped = stopped_spans(preset, start, pauses, as_of)
        if kind == "BH":
            return _business_hours(place, start, count, stopped)
        return _end(preset, place, last_day(preset, place, start, count, kind, stopped, cycles_end))
    except OverflowError as error:
        raise TimeOutOfRange(str(start)) from error


def ack_due(preset: Preset, start: datetime, *, calendar: BusinessCalendar | None = None) -> datetime | None:
    """Until when (UTC) the case must be acknowledged; None when the preset sets no time."""
    if preset.ack is None:
        return None
    place = calendar or calendar_of(preset.calendar, start)
    try:
        if preset.ack_kind == "BH":
            return _business_hours(place, start, preset.ack, [])
        return _end(preset, place, last_day(preset, place, start, preset.ack, preset.ack_kind, []))
    except OverflowError as error:
        raise TimeOutOfRange(str(start)) from error


def window_after_decision(
    preset: Preset, decided_at: datetime, *, calendar: BusinessCalendar | None = None
) -> Mapping[str, datetime]:
    """For each window of the preset the last instant (UTC) of the customer's time after the decision.

    The day of the decision is not counted, and the last day counts to its end. Raises TimeOutOfRange.
    """
    place = calendar or calendar_of(preset.calendar, decided_at)
    try:
        return {
            one.name: place.end_of_day(last_day(preset, place, decided_at, one.count, one.kind, []))
            for one in preset.windows
        }
    except OverflowError as error:
        raise TimeOutOfRange(str(decided_at)) from error


def grant_extension(preset: Preset, already: int, provided: Collection[str]) -> Extension:
    """The next extension after `already` granted ones.

    Raises ExtensionRefused when none is left or when something that it needs was not provided.
    """
    if already >= len(preset.extensions):
        raise ExtensionRefused(f"{preset.name} allows {len(preset.extensions)}, all are used")
    extension = preset.extensions[already]
    if missing := sorted(extension.needs - set(provided)):
        raise ExtensionRefused(f"{preset.name} also needs {', '.join(missing)}")
    return extension


def elapsed_fraction(
    start: datetime,
    due: datetime,
    now: datetime,
    preset: Preset,
    *,
    extensions: int = 0,
    pauses: Sequence[Pause] = (),
    calendar: BusinessCalendar | None = None,
) -> float:
    """Share of the allowed time that is gone: 0 at the start, 1 at the deadline, more when overdue.

    Counted in open hours for business days and business hours, else in calendar time, without the pauses.
    """
    counted = _counting(preset, start, extensions, calendar)
    stopped = stopped_spans(preset, start, pauses, now)
    allowed = _running(counted, start, due, stopped)
    if allowed <= 0:
        return 1.0 if now >= due else 0.0
    return max(0.0, _running(counted, start, now, stopped) / allowed)


def gone_at(
    share: float,
    start: datetime,
    due: datetime,
    preset: Preset,
    *,
    extensions: int = 0,
    pauses: Sequence[Pause] = (),
    calendar: BusinessCalendar | None = None,
) -> datetime:
    """The first instant (UTC) at which this share, 0..1, of the allowed time is gone: `elapsed_fraction` the other way.

    Pauses that still last do not count: their clock stands, and has no deadline.
    """
    counted = _counting(preset, start, extensions, calendar)
    stopped = stopped_spans(preset, start, pauses, None)
    allowed = _running(counted, start, due, stopped)
    if allowed <= 0:
        return due
    left, at = share * allowed, start
    for span in stopped:
        before = _running(counted, at, span.start, ())
        if left <= before:
            break
        left -= before
        at = span.end
    if counted is not None:
        return min(due, counted.add_business_seconds(at, left))
    return min(due, at.astimezone(UTC) + timedelta(seconds=left))


def _counting(
    preset: Preset, start: datetime, extensions: int, calendar: BusinessCalendar | None
) -> BusinessCalendar | None:
    """The calendar in whose open hours time is counted; None for calendar time."""
    if period(preset, extensions)[1] not in ("BD", "BH"):
        return None
    return calendar or calendar_of(preset.calendar, start)


def _running(counted: BusinessCalendar | None, start: datetime, end: datetime, stopped: Sequence[Span]) -> float:
    """Seconds that count between two instants."""

    def seconds(a: datetime, b: datetime) -> float:
        return max(0.0, (b - a).total_seconds()) if counted is None else counted.business_seconds(a, b)

    return seconds(start, end) - sum(seconds(max(start, one.start), min(end, one.end)) for one in stopped)


def period(preset: Preset, extensions: int) -> tuple[int, Kind]:
    """Length and unit of the time allowed after so many extensions."""
    if extensions == 0:
        return preset.resolve, preset.kind
    if extensions > len(preset.extensions):
        raise ExtensionRefused(f"{preset.name} allows {len(preset.extensions)}, not {extensions}")
    granted = preset.extensions[extensions - 1]
    return granted.to, granted.kind


def add_months(day: date, months: int) -> date:
    """The same date so many months later, or the last day of that month when it has no such date."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > date.max.year:
        raise OverflowError(f"{months} months after {day}")
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def paused_days(place: BusinessCalendar, start: datetime, stopped: Iterable[Span]) -> set[date]:
    """The dates that pauses take out of the count."""
    first = place.local_date(start)
    days: set[date] = set()
    for span in stopped:
        begin, end = place.local_date(span.start), place.local_date(span.end)
        shift = 1 if begin == first else 0
        days.update(begin + timedelta(days=i + shift) for i in range((end - begin).days))
    return days


def last_day(
    preset: Preset,
    place: BusinessCalendar,
    start: datetime,
    count: int,
    kind: Kind,
    stopped: Sequence[Span],
    cycles_end: date | None = None,
) -> date:
    """The local date on which a period of days, weeks or months ends, before it is moved to a working day."""
    first = day = place.local_date(start)
    if kind == "BD":
        left = count
    elif kind == "M":
        left = (add_months(day, count) - day).days
    else:
        left = count * (7 if kind == "W" else 1)
    paused = paused_days(place, start, stopped)
    if kind != "BD" and not paused:
        day += timedelta(days=left)
        left = 0
    while left > 0:
        day += DAY
        if day not in paused and (kind != "BD" or place.is_business_day(day)):
            left -= 1
    return day if cycles_end is None or not preset.billing_cycles else max(first, min(day, cycles_end))


def _end(preset: Preset, place: BusinessCalendar, day: date) -> datetime:
    if preset.to_working_day:
        day = place.on_or_after(day)
    return place.close_of_business(day) if preset.close_of_business else place.end_of_day(day)


def _business_hours(place: BusinessCalendar, start: datetime, hours: int, stopped: Sequence[Span]) -> datetime:
    left, at = float(hours * HOUR), start
    for span in stopped:
        if place.add_business_seconds(at, left) <= span.start:
            break
        left -= place.business_seconds(at, span.start)
        at = span.end
    return place.add_business_seconds(at, left)


def stopped_spans(preset: Preset, start: datetime, pauses: Sequence[Pause], as_of: datetime | None) -> list[Span]:
    """The pauses that count, cut to what follows the start, in order and without overlaps."""
    merged: list[Span] = []
    for begin, given_end, reason in sorted(pauses, key=lambda pause: pause[0]):
        end = given_end or as_of
        if reason not in preset.pauses or end is None or end <= max(begin, start):
            continue
        span = Span(max(begin, start).astimezone(UTC), end.astimezone(UTC))
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
