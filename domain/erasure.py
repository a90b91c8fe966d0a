"""Whether a customer who asks to be forgotten may be: a pure question of what is open with them and what must be kept.

`Erasable`, `Restricted` until a date on a legal basis, or `Refused` for a reason, as article 17 of the GDPR and article
47 of the PIPL tell them apart: what law asks to be kept, and a claim that runs, come before the wish to be forgotten.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Literal

from domain.rules import Rule, Versions, read
from domain.values import Value


class Retention(Rule, frozen=True):
    """What must be kept for so many years; of cases those whose statutory preset begins with one of `presets`."""

    basis: str
    about: Literal["relationship", "case"]
    years: int
    since: Literal["receipt", "end"]
    presets: tuple[str, ...] = ("",)


Retentions = Iterable[Versions[Retention]]

RETENTIONS = read("erasure", Retention)


class Case(Value):
    """A case of the customer: `ended_at` is None while it is open, `due_at` where no clock runs."""

    case_id: str
    case_type: str
    preset: str
    received_at: datetime
    ended_at: datetime | None
    due_at: datetime | None = None


class Standing(Value):
    """How it stands with a customer: `registered` at all, and when the relationship ended."""

    registered: bool
    ended_at: datetime | None
    cases: tuple[Case, ...] = ()


class Erasable(Value, tag="erased"):
    """Nothing stands against it."""


class Restricted(Value, tag="restricted"):
    """It must be kept until a date, each for a basis; the latest counts."""

    until: date
    basis: str


class Refused(Value, tag="refused"):
    """It is needed now."""

    reason: str


Outcome = Erasable | Restricted | Refused


def decide(standings: Sequence[Standing], now: datetime, rules: Retentions | None = None) -> Outcome:
    """What becomes of the request of one customer, who may be known under several ids, at a moment.

    A case that was opened for the request itself, and any other data request, holds nothing up.
    """
    cases = [case for one in standings for case in one.cases if case.case_type != "data_request"]
    for case in sorted(cases, key=lambda one: one.case_id):
        if case.ended_at is None:
            due = "" if case.due_at is None else f", due on {case.due_at:%Y-%m-%d}"
            return Refused(f"{case.case_type} {case.case_id} is open{due}: needed for a legal claim")
    if any(one.registered and one.ended_at is None for one in standings):
        return Refused("the relationship has not ended: needed to perform the contract")
    held: list[tuple[date, str]] = []
    for versions in RETENTIONS.values() if rules is None else rules:
        rule = versions.at(now)
        held += [(_years_after(at, rule.years), rule.basis) for at in _beginnings(rule, standings, cases)]
    until, basis = max(held, default=(date.min, ""))
    return Restricted(until, basis) if until > now.date() else Erasable()


def _beginnings(rule: Retention, standings: Sequence[Standing], cases: Sequence[Case]) -> list[datetime]:
    """When what a rule is about began to be kept."""
    if rule.about == "relationship":
        return [one.ended_at for one in standings if one.ended_at is not None]
    fitting = [case for case in cases if case.preset.startswith(rule.presets)]
    return [at for case in fitting if (at := case.received_at if rule.since == "receipt" else case.ended_at)]


def _years_after(at: datetime, years: int) -> date:
    """The same day so many years later; of a 29th of February the 1st of March."""
    try:
        return at.date().replace(year=at.year + years)
    except ValueError:
        return date(at.year + years, 3, 1)
