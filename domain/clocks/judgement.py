"""Whether a clock was met: a deadline can be moved, a miss cannot.

A deadline that is over when something moves it, stops it or puts another preset in its place was missed, and by
whatever deadline the case is decided then, its clock is missed. Only where a preset itself says under which one a case
goes on (`on_miss`), that one's deadline alone counts. It is judged by when things happened, not by
`complaint.deadline-missed`: a fact that arrives late can prove such a record wrong (docs/adr/0015).

Whoever judges keeps a few values of each clock under the names below, in a row or a dictionary of its own. Moments may
be datetimes or seconds, as long as all are the same.
"""

from collections.abc import Iterator, MutableMapping
from typing import Any, Literal, NamedTuple

from domain.clocks.presets import PRESETS, Which

PRESET: dict[Which, str] = {"statutory": "regime", "service": "service_preset"}
"""Under which name the preset of a clock is kept. `{clock}_due` is its deadline; `{clock}_missed` the preset of the
first one that was missed since the case was opened or reopened, None while there is none.
"""

_GOES_ON = frozenset(one.name for one in PRESETS if one.on_miss is not None)
"""By name: whether a preset names another one does not change from version to version."""


class Verdict(NamedTuple):
    """How one clock of a case was kept, and under which preset: when it is missed, the one whose deadline was."""

    clock: Which
    preset: str
    is_met: bool

    @property
    def word(self) -> Literal["met", "missed"]:
        """For names of counters."""
        return "met" if self.is_met else "missed"


def set_deadline(kept: MutableMapping[str, Any], clock: Which, preset: str, due: Any, at: Any) -> None:
    """A clock has another deadline from `at` on; None stops it."""
    before = kept.get(PRESET[clock])
    if missed_by(before, kept.get(f"{clock}_due"), at) and kept.get(f"{clock}_missed") is None:
        kept[f"{clock}_missed"] = before
    kept[PRESET[clock]], kept[f"{clock}_due"] = preset, due


def missed_by(preset: str | None, due: Any, at: Any) -> bool:
    """Whether a deadline that something moves at this moment has been missed."""
    return due is not None and due < at and not goes_on(preset)


def goes_on(preset: str | None) -> bool:
    """Whether a preset says itself under which one a case goes on, so that its deadline is none that can be missed."""
    return preset in _GOES_ON


def begin_again(kept: MutableMapping[str, Any]) -> None:
    """A case is reopened: what was missed was judged with the decision before, and while it was over nothing was."""
    for clock in PRESET:
        kept[f"{clock}_due"] = kept[f"{clock}_missed"] = None


def verdicts(kept: MutableMapping[str, Any], at: Any) -> Iterator[Verdict]:
    """The clocks that a decision is judged by. One that the case does not have, or that is stopped, says nothing."""
    for clock, name in PRESET.items():
        due, missed = kept.get(f"{clock}_due"), kept.get(f"{clock}_missed")
        if missed is not None:
            yield Verdict(clock, missed, False)
        elif due is not None:
            yield Verdict(clock, kept[name], at <= due)
