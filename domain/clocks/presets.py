"""Statutory deadlines and service policies: the versions of `domain/rules/presets.toml`, and how one is found.

A changed rule is a new version with a later date; the old one stays, because cases keep the version they began with.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from domain.clocks.calendars import CALENDARS, calendar
from domain.clocks.errors import PresetNotInForce, TimeOutOfRange, UnknownPreset
from domain.rules import Rule, UnusableRules, read

Kind = Literal["CD", "BD", "W", "M", "BH"]
"""How a period is counted: calendar days, business days, weeks, calendar months, business hours."""
Which = Literal["statutory", "service"]
"""On which of the two clocks of a case a preset runs."""


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A later deadline, counted from the original start, and what must be provided to get it."""

    to: int
    kind: Kind
    needs: frozenset[str]


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the customer may do after the decision, and for how long: review, ombudsman, feedback."""

    name: str
    count: int
    kind: Literal["CD", "W", "M"]


class Preset(Rule, frozen=True):
    """One version of a deadline rule.

    `resolve` periods of `kind` from the start; `ack` of `ack_kind` for the acknowledgement. `pauses` are the reasons
    that stop the clock, those in `notice_for` only when the customer was told; `restart_on` the facts that start it
    anew. `from_` says which moment the caller must give as the start. On a miss the case goes on under the preset
    `on_miss`. `calendar` names one of CALENDARS. `windows` begin with the decision.
    """

    kind: Kind
    resolve: int
    name: str = ""
    clock: Which = "statutory"
    ack: int | None = None
    ack_kind: Kind = "BD"
    extensions: tuple[Extension, ...] = ()
    pauses: frozenset[str] = frozenset()
    notice_for: frozenset[str] = frozenset()
    restart_on: frozenset[str] = frozenset()
    from_: str = msgspec.field(default="receipt", name="from")
    calendar: str = "default"
    on_miss: str | None = None
    basis: Literal["law", "policy"] = "law"
    close_of_business: bool = False
    """The last day ends with business and not at midnight."""
    to_working_day: bool = False
    """A deadline on a weekend or holiday moves to the next working day."""
    billing_cycles: int = 0
    """So many complete billing cycles of the customer, when they end before the period does."""
    by_severity: tuple[tuple[int, int], ...] = ()
    """`resolve` for each severity (1 is the most severe) that has its own."""
    windows: tuple[Window, ...] = ()

    def for_severity(self, severity: int) -> "Preset":
        """The same version with the target of this severity."""
        if not self.by_severity:
            return self
        resolve = dict(self.by_severity).get(severity, self.resolve)
        return self if resolve == self.resolve else replace(self, resolve=resolve)


def checked(presets: Sequence[Preset]) -> tuple[Preset, ...]:
    """The presets. Raises UnusableRules when one names a calendar or a preset that there is none of."""
    names = {one.name for one in presets}
    for one in presets:
        if one.calendar not in CALENDARS:
            raise UnusableRules(f"presets.{one.name} version {one.version}: no calendar {one.calendar}")
        if one.on_miss is not None and one.on_miss not in names:
            raise UnusableRules(f"presets.{one.name} version {one.version}: no preset {one.on_miss} for on_miss")
    return tuple(presets)


PRESETS: tuple[Preset, ...] = checked(
    [replace(one, name=name) for name, versions in read("presets", Preset).items() for one in versions]
)


def preset(name: str, at: datetime, among: Sequence[Preset] | None = None) -> Preset:
    """The newest version of a preset in force at a time, by the date of its own calendar.

    Raises UnknownPreset, or PresetNotInForce when the time lies before its first version; TimeOutOfRange.
    """
    versions = _versions(name, among)
    try:
        in_force = [one for one in versions if one.effective_from <= calendar(one.calendar, at).local_date(at)]
    except OverflowError as error:
        raise TimeOutOfRange(str(at)) from error
    if not in_force:
        first = min(one.effective_from for one in versions)
        raise PresetNotInForce(f"{name} at {at:%Y-%m-%d}, in force from {first}")
    return max(in_force, key=lambda one: one.effective_from)


def pinned(name: str, version: int, among: Sequence[Preset] | None = None) -> Preset:
    """The version that a case has been given. Raises UnknownPreset."""
    versions = _versions(name, among)
    for one in versions:
        if one.version == version:
            return one
    raise UnknownPreset(f"{name} version {version}; known: {[one.version for one in versions]}")


def _versions(name: str, among: Sequence[Preset] | None) -> list[Preset]:
    known = PRESETS if among is None else among
    versions = [one for one in known if one.name == name]
    if not versions:
        raise UnknownPreset(f"{name}; known: {', '.join(sorted({one.name for one in known}))}")
    return versions
