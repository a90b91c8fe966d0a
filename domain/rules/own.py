"""Rules of a bank's own, beside those of the release: TOML files in a package or folder named `kehu_bank_rules`.

It is found like any import: installed beside Kehu, or in a folder that PYTHONPATH names. Only rules may be added that
are decided by once and then pinned or recorded, or that are looked at when somebody asks. What a fold counts by is not
among them: two processes would count differently.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal, Protocol, TypeVar

from domain.errors import DomainError

PACKAGE = "kehu_bank_rules"
SUBJECTS: Mapping[str, Literal["names", "versions", "both"]] = {
    "presets": "both",
    "calendars": "both",
    "codes": "both",
    "service_policies": "versions",
    "costs": "versions",
    "returns": "names",
}
"""What a bank may add to, and whether new names, new versions of what there is, or both."""
PREFIX = "own_"
"""How new names begin, so that no release ever has the same."""
FIRST_OWN = 1000
"""From this number on versions are a bank's own."""


class UnusableRules(DomainError, ValueError):
    """A rule cannot be used. Correct it in the bank's own `kehu_bank_rules`; `kehu rules` reads it as a worker does."""


class Versioned(Protocol):
    """What is known of a version of any rule."""

    @property
    def version(self) -> int: ...
    @property
    def effective_from(self) -> date: ...
    @property
    def source(self) -> str: ...


V = TypeVar("V", bound=Versioned)
ByName = Mapping[str, tuple[V, ...]]


@cache
def folder() -> Traversable | None:
    """Where a bank's own rules are; None when it has none. Raises UnusableRules for a file that nobody would read."""
    try:
        found = files(PACKAGE)
    except ModuleNotFoundError:
        return None
    for name in sorted(one.name for one in found.iterdir()):
        if name.endswith(".toml") and name.removesuffix(".toml") not in SUBJECTS:
            raise UnusableRules(f"{PACKAGE}/{name}: nothing is read from it; files are {', '.join(SUBJECTS)}")
    return found


def with_own(
    subject: str, released: ByName[V], parsed: Callable[[Traversable], ByName[V]], own: Traversable | None
) -> ByName[V]:
    """The rules of a subject with a bank's own, the versions of each by date. Raises UnusableRules."""
    if own is None or subject not in SUBJECTS or not (file := own / f"{subject}.toml").is_file():
        return released
    try:
        added = parsed(file)
    except ValueError as error:  # of TOML, of UTF-8, and of fields
        raise UnusableRules(f"{PACKAGE}/{subject}.toml: {error}") from error
    for name, versions in added.items():
        _check(subject, name, versions, name in released)
    return {
        name: tuple(
            sorted((*released.get(name, ()), *added.get(name, ())), key=lambda one: (one.effective_from, one.version))
        )
        for name in {**released, **added}
    }


def _check(subject: str, name: str, versions: tuple[V, ...], is_released: bool) -> None:
    where, may = f"{PACKAGE}/{subject}.toml, {name}", SUBJECTS[subject]
    if is_released and may == "names":
        told = "what the release has under this name is the same at every bank"
        raise UnusableRules(f"{where}: {told}; give yours another one that begins with {PREFIX}")
    if not is_released and may == "versions":
        raise UnusableRules(f"{where}: there is no such rule, and nothing would ask for it")
    if not is_released and not name.startswith(PREFIX):
        raise UnusableRules(f"{where}: a new name begins with {PREFIX}, so that no release ever has the same")
    for one in versions:
        if one.version < FIRST_OWN:
            raise UnusableRules(f"{where} version {one.version}: a bank's own versions begin at {FIRST_OWN}")
        if not one.source.strip():
            raise UnusableRules(f"{where} version {one.version}: say in `source` where it comes from")
