"""The versions of `domain/rules/returns.toml`: whose complaints a return counts, and into which bands and states."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import combinations

import msgspec

from domain import clocks
from domain.clocks import BusinessCalendar, Kind, Pause, Preset
from domain.rules import Rule, UnusableRules, Versions, read


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answered within `upto` periods of `kind`, and not within those of the band before; the last band has no end."""

    name: str
    upto: int | None = None
    kind: Kind = "CD"
    close_of_business: bool = False


class States(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the regulator calls that which became of a complaint by the end of the period."""

    open_in_time: str = "open"
    open_late: str = "overdue"
    answered: str = "answered"
    answered_with_redress: str = "answered_with_redress"
    withdrawn: str = "withdrawn"

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (self.open_in_time, self.open_late, self.answered, self.answered_with_redress, self.withdrawn)


class Return(Rule, frozen=True, dict=True):
    """One version of a return."""

    regimes: frozenset[str]
    calendar: str
    bands: tuple[Band, ...]
    name: str = ""
    excluded: frozenset[str] = frozenset()
    states: States = States()
    untold: tuple[str, ...] = ()

    @property
    def place(self) -> BusinessCalendar:
        """Whose days are counted."""
        return clocks.CALENDARS[self.calendar]

    @cached_property
    def limits(self) -> tuple[tuple[str, Preset], ...]:
        """The bands that have an end, as presets without extensions, so that bands and clocks count alike."""
        return tuple((band.name, self._counted(band)) for band in self.bands if band.upto is not None)

    def _counted(self, band: Band) -> Preset:
        return Preset(
            version=self.version,
            effective_from=self.effective_from,
            source=self.source,
            name=f"{self.name}.{band.name}",
            kind=band.kind,
            resolve=band.upto or 0,
            pauses=self.excluded,
            calendar=self.calendar,
            close_of_business=band.close_of_business,
        )

    def band(self, start: datetime, at: datetime, pauses: Sequence[Pause]) -> str:
        """The band of an answer, or of an age, at this time. Raises TimeOutOfRange."""
        for name, counted in self.limits:
            if at <= clocks.due(counted, start, pauses=pauses, as_of=at):
                return name
        return self.bands[-1].name


@dataclass(frozen=True)
class Period:
    """Days of the return's place: from `since` on and before `until`. Raises ValueError when there are none."""

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.since >= self.until:
            raise ValueError(f"it ends before {self.until}, so it begins earlier than {self.since}")
        if self.since.year < 1900 or self.until.year > 9000:
            raise ValueError("it lies between 1900 and 9000")

    def instants(self, place: BusinessCalendar) -> tuple[datetime, datetime]:
        """The first instant (UTC), and the first one after the period."""
        return place.midnight(self.since).astimezone(UTC), place.midnight(self.until).astimezone(UTC)


def made(found: Mapping[str, Versions[Return]]) -> Mapping[str, Versions[Return]]:
    """Returns with their names. Raises UnusableRules for one that could not be counted, or whose figures would not add
    up.
    """
    named = {
        name: Versions(f"returns.{name}", tuple(msgspec.structs.replace(one, name=name) for one in versions))
        for name, versions in found.items()
    }
    for versions in named.values():
        for one in versions:
            for wrong in _wrong(one):
                raise UnusableRules(f"returns.{one.name} version {one.version}: {wrong}")
    return named


def _wrong(rule: Return) -> Iterator[str]:
    """What must be corrected in a version."""
    known = {one.name for one in clocks.PRESETS if one.clock == "statutory"}
    if not rule.regimes:
        yield f"name the presets whose cases it counts in `regimes`: {', '.join(sorted(known))}"
    if unknown := sorted(rule.regimes - known):
        yield f"{', '.join(unknown)} is no statutory preset; there are {', '.join(sorted(known))}"
    if rule.calendar not in clocks.CALENDARS:
        yield f"no calendar {rule.calendar}; there are {', '.join(sorted(clocks.CALENDARS))}"
    if [band.upto is None for band in rule.bands] != [False] * (len(rule.bands) - 1) + [True]:
        yield "the last band, and no other, has no end: leave out its `upto`, and give one to each of the others"
    if any(band.upto is not None and band.upto < 1 for band in rule.bands):
        yield "a band ends after one period or more: give it an `upto` from 1 on"
    limits = [(band.kind, band.upto) for band in rule.bands if band.upto is not None]
    if any(a >= b for (kind, a), (other, b) in combinations(limits, 2) if kind == other):
        yield "write the shortest band first"
    # Two of one name would be one cell, and the cells would no longer add up.
    for what, names in (("bands", [band.name for band in rule.bands]), ("states", [*rule.states.names, *rule.untold])):
        if twice := sorted(name for name, number in Counter(names).items() if number > 1):
            yield f"give the {what} different names: {', '.join(twice)} is there more than once"
        if not all(name.strip() for name in names):
            yield f"give each of the {what} a name"


RETURNS: Mapping[str, Versions[Return]] = made(read("returns", Return))
