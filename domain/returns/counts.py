"""The figures of a return, and which complaints stand behind one."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from domain.complaint.events import Outcome
from domain.returns.rows import Row
from domain.returns.rules import Return

MEASURES: Mapping[str, Callable[[Row], bool]] = {
    "complaints": lambda _row: True,
    "outstanding_at_start": lambda row: row.outstanding_at_start,
    "opened": lambda row: row.opened,
    "reopened": lambda row: row.reopened,
    "closed": lambda row: row.closed,
    "outstanding_at_end": lambda row: row.outstanding_at_end,
    "redress": lambda row: row.redress_minor is not None,
}
"""What is counted -> whether a row counts. `complaints` are all that were open at some time in the period."""
NO_VERDICT = "none"
VERDICTS = ("met", "missed", NO_VERDICT)
OUTCOMES = (*get_args(Outcome), "withdrawn")


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: of a measure, those whose `by` has this value; both are empty for all of them.

    `cases` is None where our events cannot say it. `minor` is the redress of a currency, in its minor units.
    """

    measure: str
    by: str
    value: str
    cases: int | None
    minor: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which rows; None means all."""

    measure: str | None = None
    band: str | None = None
    state: str | None = None
    outcome: str | None = None
    verdict: str | None = None

    def has(self, row: Row) -> bool:
        """Whether a row is chosen."""
        return (
            (self.measure is None or MEASURES[self.measure](row))
            and self.band in (None, row.band)
            and self.state in (None, row.state)
            and self.outcome in (None, row.outcome)
            and self.verdict in (None, row.verdict or NO_VERDICT)
        )


class Counts:
    """The figures of the rows that were added. A cell to which no row belongs is 0."""

    def __init__(self, rule: Return) -> None:
        self._rule = rule
        self._cases: Counter[tuple[str, str, str]] = Counter()
        self._minor: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Count a row."""
        for measure, has in MEASURES.items():
            if has(row):
                for by, value in _cells(measure, row):
                    self._cases[measure, by, value] += 1
        if row.redress_minor is not None and row.currency is not None:
            self._minor[row.currency] += row.redress_minor

    def lines(self) -> Iterator[Line]:
        """All figures, in the order of the measures."""
        rule = self._rule
        bands = [band.name for band in rule.bands]
        values: Mapping[str, Mapping[str, Sequence[str]]] = {
            "complaints": {"state": (*rule.states.names, *rule.untold)},
            "closed": {"band": bands, "outcome": OUTCOMES, "verdict": VERDICTS},
            "outstanding_at_end": {"band": bands},
            "redress": {"currency": sorted(self._minor)},
        }
        for measure in MEASURES:
            yield Line(measure, "", "", self._cases[measure, "", ""])
            for by, cells in values.get(measure, {}).items():
                for value in cells:
                    cases = None if value in rule.untold else self._cases[measure, by, value]
                    yield Line(measure, by, value, cases, self._minor[value] if by == "currency" else None)


def _cells(measure: str, row: Row) -> Iterator[tuple[str, str]]:
    yield "", ""
    match measure:
        case "complaints":
            yield "state", row.state
        case "closed":
            yield "band", row.band
            yield "outcome", row.outcome or ""
            yield "verdict", row.verdict or NO_VERDICT
        case "outstanding_at_end":
            yield "band", row.band
        case "redress":
            yield "currency", row.currency or ""
