"""The rules of causes (domain/rules/causes.toml)."""

from domain.rules import Rule, read


class CauseRule(Rule, frozen=True):
    """What is a low answer, and what is looked at before it."""

    low_csat: int
    low_nps: int
    low_ces_7: int
    low_ces_5: int
    window_days: int
    transfers: int
    waited_share: float
    kept: int
    kept_times: int


RULES = read("causes", CauseRule)["causes"]


def is_low(metric: str, scale: int, score: int, rule: CauseRule) -> bool:
    """Whether an answer is low by the rules."""
    if metric == "ces":
        return score <= (rule.low_ces_7 if scale == 7 else rule.low_ces_5)
    return score <= (rule.low_nps if metric == "nps" else rule.low_csat)
