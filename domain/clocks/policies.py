"""Which service policy a case gets: the choices of `domain/rules/service_policies.toml`."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from domain.rules import Rule, read


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


RULES = read("service_policies", PolicyRule)["service_policies"]


def service_policy(queue: str, case_type: str, severity: int, at: datetime) -> str:
    """The name of the service policy of a case that is opened then."""
    rule = RULES.at(at)
    return chosen(rule.choices, queue, case_type, severity) or rule.otherwise


def chosen(choices: Sequence[Choice], queue: str, case_type: str, severity: int) -> str | None:
    """The policy of the first choice that fits."""
    return next((one.policy for one in choices if one.fits(queue, case_type, severity)), None)
