"""The rules of queues (queues.toml and queue_windows.toml in domain/rules), in force when something happened."""

from domain.rules import Rule, read


class QueueRule(Rule, frozen=True):
    """How contacts and cases are counted and judged."""

    answer_within_seconds: int
    service_level: float
    at_risk_share: float
    forecast_least: int
    calendar: str


class WindowRule(Rule, frozen=True):
    """Over how long the flow is added up, and how far ahead it is foretold."""

    short_days: int
    long_days: int
    ahead_hours: dict[str, int]
    """How the time ahead is called, and its hours."""


RULES = read("queues", QueueRule)["queues"]
WINDOWS = read("queue_windows", WindowRule)["windows"]
