"""Rules that are data: windows, thresholds, presets, calendars, code lists and scorecards, one TOML file per subject.

A file holds arrays of tables; each array is one rule, each table a version of it, with the date from which it applies
and its source. A changed rule is a new version with a later date. The old one stays: what was decided or counted under
it is explained by it. Files are part of the release, like code, and are read once, when their module is imported.

A bank adds rules of its own in files of the same form, in a package named `kehu_bank_rules` (domain/rules/own.py).
"""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise
from typing import Generic, TypeVar

import msgspec

from domain.rules.own import FIRST_OWN, UnusableRules, folder, with_own

__all__ = ["Rule", "UnusableRules", "Versions", "read"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What each version of a rule says of itself; a subject adds its own fields.

    `source` is an address, or says that it is a bank's own choice; `note` is what a reader should know.
    """

    version: int
    effective_from: date
    source: str
    note: str = ""


R = TypeVar("R", bound=Rule)


class Versions(Generic[R]):
    """The versions of one rule, oldest first."""

    __slots__ = ("_all", "_last", "_last_from", "name")

    def __init__(self, name: str, versions: tuple[R, ...]) -> None:
        """Raises ValueError when there is none, or when dates or numbers do not grow; those of a bank grow apart."""
        numbers = [one.version for one in versions]
        released, own = ([n for n in numbers if (n >= FIRST_OWN) == which] for which in (False, True))
        dates = [one.effective_from.toordinal() for one in versions]
        if not numbers or any(a >= b for order in (released, own, dates) for a, b in pairwise(order)):
            raise ValueError(f"{name}: give each version a greater number and a later date than the one before")
        self.name, self._all, self._last = name, versions, versions[-1]
        self._last_from = self._last.effective_from

    @property
    def latest(self) -> R:
        """The newest version, in force or not."""
        return self._last

    def __iter__(self) -> Iterator[R]:
        """The versions, oldest first."""
        return iter(self._all)

    def on(self, day: date) -> R:
        """The version in force on a day; the first one before it began, since nothing else was ever written down."""
        if day >= self._last_from:
            return self._last
        return next((one for one in reversed(self._all) if one.effective_from <= day), self._all[0])

    def at(self, moment: datetime) -> R:
        """The version in force at a moment, by the date that it is written with."""
        return self.on(moment.date())

    def pinned(self, version: int) -> R:
        """A version that something was decided under. Raises LookupError."""
        for one in self._all:
            if one.version == version:
                return one
        raise LookupError(f"{self.name} version {version}; known: {[one.version for one in self._all]}")


def read(subject: str, shape: type[R], own: Traversable | None = None) -> Mapping[str, Versions[R]]:
    """The rules of a file, by name, with those of a bank's `own` folder: the one that is found, unless told.

    Raises ValueError (msgspec.ValidationError) with the place of what is wrong; UnusableRules when it is in `own`.
    """

    def parsed(file: Traversable) -> dict[str, tuple[R, ...]]:
        return msgspec.convert(tomllib.loads(file.read_text("utf-8")), dict[str, tuple[shape, ...]])  # type: ignore[valid-type]

    released = parsed(files(__name__) / f"{subject}.toml")
    found = with_own(subject, released, parsed, own or folder())
    try:
        return {name: Versions(f"{subject}.{name}", versions) for name, versions in found.items()}
    except ValueError as error:
        raise error if found is released else UnusableRules(str(error)) from error
