"""The rules of queues (domain/rules/queues.toml), in the version in force when something happened."""

from domain.rules import Rule, read


class QueueRule(Rule, frozen=True):
    """How contacts and cases are counted and judged."""

    answer_within_seconds: int
    service_level: float
    at_risk_share: float
    forecast_least: int
    calendar: str


RULES = read("queues", QueueRule)["queues"]
