"""Features as numbers: what a customer's kept events say at a moment, and when that changes because time passes.

Each feature is a value with its window; what measures it is in `accounts`, in `service` or here, and says what
`sheet` tells of measures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projections.retention_risk import accounts, service
from projections.retention_risk.sheet import Features, Measure, Number, Sheet, Steps, grown
from projections.retention_risk.windows import DAY, LAST_SECOND, Spans, iso


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """A feature: how it is measured, told to people, and which of the kept events are behind it.

    `needs` is the part of what is kept without which the number is not known, however it is measured. `window` may have
    fields `{of.…}` of the windows that are in force.
    """

    window: str
    measure: Measure
    shown: Callable[[Sheet, float], str]
    sources: Callable[[Sheet], Sequence[str]]
    needs: str | None = None

    def over(self, spans: Spans) -> str:
        """The window as people read it."""
        return self.window.format(of=spans)


def _inactive(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    return grown(sheet, _last_active(sheet)[0], steps)


def _last_active(sheet: Sheet) -> list[Any]:
    known: list[Any] = sheet.features.get("active") or sheet.features["seen"]
    return known


def _products(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    return sheet.features["products"][0], LAST_SECOND


def _tenure(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    return grown(sheet, sheet.features["since"][0] * DAY, steps)


def _kept(name: str, at: int = -1) -> Callable[[Sheet], Sequence[str]]:
    """The source that is kept with what is known under a name."""
    return lambda sheet: [sheet.features[name][at]]


AGAINST = "{of.quarter} d against the {of.quarter} d before"
HALVES = "{of.half_months} months against the {of.half_months} months before"
CALLS = "{of.month} d against the {of.months} months before"
A_YEAR, A_MONTH, A_QUARTER = "{of.months} months", "{of.month} d", "{of.quarter} d"

FEATURES: Mapping[str, Feature] = {
    "inactive_days": Feature(
        "since the last activity",
        _inactive,
        lambda sheet, _: f"since {iso(_last_active(sheet)[0] // DAY)}",
        lambda sheet: [_last_active(sheet)[1]],
    ),
    "balance_fall": Feature(
        AGAINST, accounts.balance_fall, lambda _, value: f"{round(-value)} %", accounts.balances, needs="balances"
    ),
    "transactions_ratio": Feature(
        AGAINST, accounts.transactions_ratio, accounts.shown_transactions, accounts.transactions, needs="posted"
    ),
    "transactions_12m": Feature(
        A_YEAR,
        accounts.of_year(lambda y: y.count),
        lambda _, v: f"{v:.0f} transactions",
        accounts.transactions,
        needs="year",
    ),
    "amount_12m": Feature(
        A_YEAR, accounts.of_year(lambda y: y.amount), accounts.shown_amount, accounts.transactions, needs="year"
    ),
    "mean_amount_12m": Feature(
        A_YEAR,
        accounts.of_year(lambda y: accounts.ratio((y.amount, y.count))),
        accounts.shown_amount,
        accounts.transactions,
        needs="year",
    ),
    "count_ratio": Feature(
        HALVES,
        accounts.of_year(lambda y: accounts.ratio(y.half_count)),
        lambda _, v: f"{v:.2f} times as many",
        accounts.transactions,
        needs="year",
    ),
    "amount_ratio": Feature(
        HALVES,
        accounts.of_year(lambda y: accounts.ratio(y.half_amount)),
        lambda _, v: f"{v:.2f} times as much",
        accounts.transactions,
        needs="year",
    ),
    "quiet_months": Feature(
        A_YEAR,
        accounts.of_year(lambda y: y.quiet),
        lambda _, v: f"{v:.0f} without any",
        accounts.transactions,
        needs="year",
    ),
    "open_complaint_days": Feature(
        "while it is open",
        service.open_complaint,
        lambda sheet, _: f"open since {iso(service.complaints(sheet)[0]['at'] // DAY)}",
        lambda sheet: [case["source"] for case in service.complaints(sheet)][: sheet.spans.sources],
        needs="cases",
    ),
    "rejected_days": Feature(
        "since the last rejection",
        service.rejected,
        lambda sheet, _: f"on {iso(sheet.features['rejected'][0] // DAY)}",
        _kept("rejected"),
        needs="rejected",
    ),
    "service_failures": Feature(
        A_QUARTER,
        service.service_failures,
        service.shown_failures,
        lambda sheet: service.failures(sheet)[0][: sheet.spans.sources],
    ),
    "csat_of_five": Feature(
        "last answer",
        service.csat,
        lambda sheet, _: f"CSAT {sheet.features['csat'][1]} of {sheet.features['csat'][2]}",
        _kept("csat"),
        needs="csat",
    ),
    "nps": Feature("last answer", service.nps, lambda _, value: f"NPS {value:.0f}", _kept("nps"), needs="nps"),
    "contacts_30d": Feature(
        A_MONTH, service.contacts_of_month, lambda _, value: f"{value:.0f} contacts", service.contacts
    ),
    "contacts_12m": Feature(
        A_YEAR, service.contacts_of_year, lambda _, value: f"{value:.0f} contacts", service.contacts
    ),
    "contacts_surge": Feature(CALLS, service.surge, service.shown_surge, service.contacts, needs="contacts"),
    "salary_stop_days": Feature(
        "since the last salary",
        accounts.salary_stop,
        lambda sheet, _: f"last on {iso(sheet.features['salaries'][-1])}",
        lambda sheet: [sheet.features["salary_source"]],
        needs="salaries",
    ),
    "products": Feature(
        "now", _products, lambda _, value: f"{value:.0f} products", _kept("products"), needs="products"
    ),
    "tenure_days": Feature(
        "now",
        _tenure,
        lambda sheet, _: f"since {iso(sheet.features['since'][0])}",
        _kept("since"),
        needs="since",
    ),
    "credit_limit": Feature("now", accounts.limit, accounts.shown_amount, accounts.balances, needs="balances"),
    "owed": Feature("now", accounts.owed, accounts.shown_amount, accounts.balances, needs="balances"),
    "utilisation": Feature(
        "now",
        accounts.utilisation,
        lambda _, value: f"{100 * value:.0f} % of the limit",
        accounts.balances,
        needs="balances",
    ),
}
"""By name: all that a model may use. Lengths in a name are those of the first version of the windows; a reason tells
the window that it was measured over. None says who a customer is; what must not be one is told in
docs/explanation/retention-risk.md."""


def numbers(features: Features, second: int) -> dict[str, Number]:
    """All features at a moment; empty for a customer of whom nothing is known, or who left."""
    if features.get("closed") or "seen" not in features:
        return {}
    sheet = Sheet(features, second)
    return {
        name: feature.measure(sheet, ())[0] if feature.needs is None or feature.needs in features else None
        for name, feature in FEATURES.items()
    }
