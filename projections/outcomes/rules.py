"""The rules of outcomes: windows, what is shown, what work costs, when a cluster is an alert, and lists of codes."""

from decimal import Decimal

from domain.rules import Rule, read


class OutcomeRule(Rule, frozen=True):
    """What counts, and from how much on it is shown (domain/rules/outcomes.toml)."""

    reopened_days: int
    """A decision did not hold when its case was reopened within so many days."""
    longest_handling_seconds: int
    """No contact counts for more work than this."""
    smallest_n: int
    """With fewer customers, contacts or decisions no rate and no share is shown."""


class CostRule(Rule, frozen=True):
    """What an hour of work costs, in minor units (domain/rules/costs.toml)."""

    hourly_minor: int
    currency: str

    def minor(self, seconds: float) -> Decimal:
        """What so many seconds cost, in minor units."""
        return Decimal(repr(seconds)) * self.hourly_minor / 3600


class ClusterRule(Rule, frozen=True):
    """When a cluster is an alert (domain/rules/root_causes.toml); see `projections.outcomes.causes`."""

    period_days: int
    periods: int
    fewest_periods: int
    multiplier: float
    smallest_count: int


class CodeList(Rule, frozen=True):
    """A list of codes with what each means (domain/rules/codes.toml)."""

    codes: dict[str, str]


OUTCOMES = read("outcomes", OutcomeRule)["outcomes"]
COSTS = read("costs", CostRule)["service"]
CLUSTERS = read("root_causes", ClusterRule)["clusters"]
CODES = read("codes", CodeList)


def meaning(cause: str) -> tuple[str, str] | None:
    """The list that a code is in and what it means there; None for a code that no list has."""
    for name, versions in CODES.items():
        if cause in versions.latest.codes:
            return name, versions.latest.codes[cause]
    return None
