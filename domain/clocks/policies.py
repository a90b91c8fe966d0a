"""Which presets fit a case: the service policy that it gets (`domain/rules/service_policies.toml`), and for which types
of case a statutory preset is (`domain/rules/regimes.toml`).
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from domain.clocks.presets import PRESETS, Preset
from domain.rules import Rule, UnusableRules, Versions, read


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy, and for which cases: each list holds the case's value, an absent one any."""

    policy: str
    queues: tuple[str, ...] = ()
    case_types: tuple[str, ...] = ()
    severities: tuple[int, ...] = ()

    def fits(self, queue: str, case_type: str, severity: int) -> bool:
        """Whether a case is meant."""
        return (
            (not self.queues or queue in self.queues)
            and (not self.case_types or case_type in self.case_types)
            and (not self.severities or severity in self.severities)
        )


class PolicyRule(Rule, frozen=True):
    """One version of all choices, tried in their order."""

    otherwise: str
    choices: tuple[Choice, ...] = ()


def checked(rules: Versions[PolicyRule], presets: Sequence[Preset] = PRESETS) -> Versions[PolicyRule]:
    """The choices. Raises UnusableRules when one of them is no preset of the service clock."""
    known = {one.name for one in presets if one.clock == "service"}
    for rule in rules:
        for policy in (rule.otherwise, *(choice.policy for choice in rule.choices)):
            if policy not in known:
                raise UnusableRules(f"service_policies version {rule.version}: no service policy {policy}")
    return rules


RULES = checked(read("service_policies", PolicyRule)["service_policies"])


def service_policy(queue: str, case_type: str, severity: int, at: datetime) -> str:
    """The name of the service policy of a case that is opened then."""
    rule = RULES.at(at)
    return chosen(rule.choices, queue, case_type, severity) or rule.otherwise


def chosen(choices: Sequence[Choice], queue: str, case_type: str, severity: int) -> str | None:
    """The policy of the first choice that fits."""
    return next((one.policy for one in choices if one.fits(queue, case_type, severity)), None)


class RegimeRule(Rule, frozen=True):
    """One version of which types of case each statutory preset is for (domain/rules/regimes.toml)."""

    of: dict[str, tuple[str, ...]]


REGIMES = read("regimes", RegimeRule)["case_types"]


def case_types(regime: str, at: datetime) -> tuple[str, ...]:
    """The types of case that a regime was for then; () when it is for any."""
    return REGIMES.at(at).of.get(regime, ())
