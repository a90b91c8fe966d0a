"""The rule of comparisons (domain/rules/comparisons.toml)."""

from domain.rules import Rule, read


class ComparisonRule(Rule, frozen=True):
    """When a difference counts, of many that are looked at together."""

    false_discoveries: float
    """The share of those that are named, 0..1, that is expected to be chance."""


COMPARISONS = read("comparisons", ComparisonRule)["comparisons"]
