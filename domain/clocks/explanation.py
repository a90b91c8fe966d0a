"""Why a deadline is what it is: every stretch of time since the start, counted or not, as data and as text."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Literal

from domain.clocks.business_calendar import DAY, BusinessCalendar, Span
from domain.clocks.calendars import calendar as calendar_of
from domain.clocks.deadlines import Pause, due, last_day, paused_days, period, stopped_spans
from domain.clocks.presets import Kind, Preset

Why = Literal["counted", "start", "weekend", "holiday", "paused", "moved to a working day"]

UNITS: dict[Kind, str] = {
    "CD": "calendar days",
    "BD": "business days",
    "W": "weeks",
    "M": "calendar months",
    "BH": "business hours",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive time of one kind. `amount` is in days, for business hours in seconds; only "counted" adds up."""

    start: datetime
    end: datetime
    why: Why
    amount: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A deadline with all that led to it. Stretches follow each other in time; closed hours are left out."""

    preset: Preset
    calendar: BusinessCalendar
    start: datetime
    due: datetime
    count: int
    kind: Kind
    extensions: int
    stretches: tuple[Stretch, ...]
    cycles_end: date | None = None
    """Where the billing cycles ended the period before its time."""
    restarted: bool = False
    """The start is when new facts arrived."""

    @property
    def since(self) -> str:
        """What the start is: new facts, or what the preset says."""
        return "new facts" if self.restarted else self.preset.from_

    def text(self) -> str:
        """A few lines for people, in the local time of the calendar."""
        tz, unit = self.calendar.tz, "h" if self.kind == "BH" else "d"
        scale = 3600 if self.kind == "BH" else 1
        layout = "%a %Y-%m-%d %H:%M" if self.kind == "BH" else "%a %Y-%m-%d"
        after = f" after {self.extensions} extension(s)" if self.extensions else ""
        lines = [
            f"{self.preset.name} version {self.preset.version} ({self.preset.basis}): "
            f"{self.count} {UNITS[self.kind]}{after} from {self.since}, calendar {self.calendar.name} "
            f"version {self.calendar.version}",
            f"start {self.start.astimezone(tz):%a %Y-%m-%d %H:%M %Z}",
            *(
                f"  {stretch.start.astimezone(tz):{layout}} to {stretch.end.astimezone(tz):{layout}}  "
                f"{stretch.amount / scale:g} {unit}  {stretch.why}"
                for stretch in self.stretches
            ),
            f"due   {self.due.astimezone(tz):%a %Y-%m-%d %H:%M %Z}",
        ]
        if self.cycles_end is not None:
            lines.append(f"{self.preset.billing_cycles} billing cycles end on {self.cycles_end}, before that time")
        known = {day.year for day in self.calendar.holidays}
        if known and not {self.start.year, self.due.year} <= known:
            lines.append(f"holidays of calendar {self.calendar.name} are known for {min(known)} to {max(known)} only")
        return "\n".join([*lines, f"source: {self.preset.source}"])


def explain_due(
    preset: Preset,
    start: datetime,
    *,
    extensions: int = 0,
    pauses: Sequence[Pause] = (),
    as_of: datetime | None = None,
    calendar: BusinessCalendar | None = None,
    cycles_end: date | None = None,
    restarted: bool = False,
) -> Explanation:
    """The same arguments, errors and deadline as `due`, with the time that was and was not counted.

    `restarted` says that the start is when new facts arrived.
    """
    deadline = due(
        preset, start, extensions=extensions, pauses=pauses, as_of=as_of, calendar=calendar, cycles_end=cycles_end
    )
    count, kind = period(preset, extensions)
    place = calendar or calendar_of(preset.calendar, start)
    stopped = stopped_spans(preset, start, pauses, as_of)
    counted_to: date | None = None
    if kind == "BH":
        stretches = tuple(_hours(place, start, deadline, stopped))
    else:
        counted_to = last_day(preset, place, start, count, kind, stopped, cycles_end)
        paused = paused_days(place, start, stopped)
        stretches = tuple(_days(place, start, counted_to, place.local_date(deadline), kind, paused))
    ends_early = (
        counted_to is not None
        and counted_to == cycles_end
        and counted_to < last_day(preset, place, start, count, kind, stopped)
    )
    return Explanation(
        preset,
        place,
        start,
        deadline,
        count,
        kind,
        extensions,
        stretches,
        cycles_end if ends_early else None,
        restarted,
    )


def _hours(place: BusinessCalendar, start: datetime, end: datetime, stopped: Sequence[Span]) -> Iterator[Stretch]:
    for span in place.spans(start, end):
        at = span.start
        for pause in stopped:
            begin, until = max(at, pause.start), min(span.end, pause.end)
            if begin < until:
                if at < begin:
                    yield Stretch(at, begin, "counted", (begin - at).total_seconds())
                yield Stretch(begin, until, "paused", (until - begin).total_seconds())
                at = until
        if at < span.end:
            yield Stretch(at, span.end, "counted", (span.end - at).total_seconds())


def _days(
    place: BusinessCalendar, start: datetime, counted_to: date, last: date, kind: Kind, paused: Set[date]
) -> Iterator[Stretch]:
    first = place.local_date(start)
    days = [first + i * DAY for i in range((last - first).days + 1)]

    def why(day: date) -> Why:
        if day == first:
            return "start"
        if day > counted_to:
            return "moved to a working day"
        if day in paused:
            return "paused"
        if kind != "BD" or place.is_business_day(day):
            return "counted"
        return "holiday" if place.weekly[day.weekday()] else "weekend"

    for reason, group in groupby(days, why):
        stretch = list(group)
        yield Stretch(place.midnight(stretch[0]), place.end_of_day(stretch[-1]), reason, len(stretch))
