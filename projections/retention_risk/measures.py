"""Features as numbers: what a customer's kept events say at a moment, and when that changes because time passes.

Each feature is a value with its window. `measure` gives the number, or None when it is not known, and the next second
at which it may be another one; of those that grow with time alone, the next second at which they reach one of `steps`.
Until that second the number stays in its bin, and so does what is shown of it.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projections.retention_risk.windows import (
    DAY,
    LAST_SECOND,
    MONTH,
    MONTHS,
    PERIOD,
    QUARTER,
    SALARIES,
    SALARIES_WITHIN,
    SOURCES,
    YEAR,
    iso,
)

Features = dict[str, Any]
Number = float | None
Steps = tuple[int, ...]
"""Whole days at which a feature that grows with time enters another bin."""
PERIODS_OF_YEAR, PERIODS_OF_QUARTER, PERIODS_OF_MONTH = YEAR // PERIOD, QUARTER // PERIOD, MONTH // PERIOD


class Sheet:
    """What is kept of a customer, at a second; and what several features share, made once.

    The moment must not be before the last event that `features` know of.
    """

    __slots__ = ("at", "credit", "features", "today", "year")

    def __init__(self, features: Features, second: int) -> None:
        self.features, self.at, self.today = features, second, second // DAY
        self.year: Year | None = None
        self.credit: tuple[int, int] | None = None


Measure = Callable[[Sheet, Steps], tuple[Number, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """A feature: how it is measured, told to people, and which of the kept events are behind it.

    `needs` is the part of what is kept without which the number is not known, however it is measured.
    """

    window: str
    measure: Measure
    shown: Callable[[Sheet, float], str]
    sources: Callable[[Sheet], Sequence[str]]
    needs: str | None = None


def _grown(since: int, days: int, steps: Steps) -> int:
    index = bisect_right(steps, days)
    return since + steps[index] * DAY if index < len(steps) else LAST_SECOND


def _inactive(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    since = (sheet.features.get("active") or sheet.features["seen"])[0]
    days = (sheet.at - since) // DAY
    return days, _grown(since, days, steps)


def _balance(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """By how many percent the mean balance of nine ten-day periods, this one included, fell from that of nine before.

    Accounts add up in the currency in which the first balance was known; the others are left out.
    """
    accounts = _accounts(sheet)
    period = sheet.today // PERIOD
    totals: list[int] = []
    for p in range(period - 2 * PERIODS_OF_QUARTER + 1, period + 1):
        known = [n for account in accounts if (n := _balance_in(account, p)) is not None]
        if known:
            totals.append(sum(known))
    changes = (period + 1) * PERIOD * DAY if len(set(totals)) > 1 else LAST_SECOND
    recent, prior = totals[-PERIODS_OF_QUARTER:], totals[:-PERIODS_OF_QUARTER]
    before, now = sum(prior) * len(recent), sum(recent) * len(prior)
    return (100 * (before - now) / before if before > 0 else None), changes


def _accounts(sheet: Sheet) -> list[dict[str, Any]]:
    currency = sheet.features.get("currency")
    return [a for a in sheet.features["balances"].values() if a["currency"] == currency]


def _balance_in(account: dict[str, Any], period: int) -> int | None:
    """The last balance up to the end of a period; None before the first that is known."""
    index = bisect_right(account["periods"], period)
    balance: int = account["minor"][index - 1] if index else 0
    return balance if index else None


def _of_accounts(sheet: Sheet) -> list[str]:
    accounts = sorted(_accounts(sheet), key=lambda a: (a["at"], a["source"]))
    return [a["source"] for a in accounts][-SOURCES:]


def _credit(sheet: Sheet) -> tuple[int, int] | None:
    """What is owed on the accounts with a credit limit, and their limits; None where none has one."""
    if sheet.credit is None:
        lent = [a for a in _accounts(sheet) if a.get("limit") is not None]
        if lent:
            sheet.credit = sum(max(0, -a["minor"][-1]) for a in lent), sum(a["limit"] for a in lent)
    return sheet.credit


def _limit(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    credit = _credit(sheet)
    return (credit[1] if credit else None), LAST_SECOND


def _owed(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    credit = _credit(sheet)
    return (credit[0] if credit else None), LAST_SECOND


def _utilisation(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    credit = _credit(sheet)
    return (credit[0] / credit[1] if credit and credit[1] > 0 else None), LAST_SECOND


def _quarters(sheet: Sheet) -> tuple[int, int, int]:
    """Transactions of the last 90 days and of the 90 before, and when either may change."""
    days, counts = sheet.features["posted"]
    middle, start = bisect_right(days, sheet.today - QUARTER), bisect_right(days, sheet.today - 2 * QUARTER)
    changes = LAST_SECOND
    if middle < len(days):
        changes = (days[middle] + QUARTER) * DAY
    if start < middle:
        changes = min(changes, (days[start] + 2 * QUARTER) * DAY)
    return sum(counts[middle:]), sum(counts[start:middle]), changes


def _transactions_ratio(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    recent, prior, changes = _quarters(sheet)
    return (recent / prior if prior else None), changes


def _shown_quarters(sheet: Sheet, value: float) -> str:
    recent, prior, _ = _quarters(sheet)
    return f"{recent} after {prior}"


@dataclass(frozen=True, slots=True)
class Year:
    """The transactions of twelve months of ten-day periods, this one included, and of their last and first half."""

    count: int
    amount: int
    half_count: tuple[int, int]
    half_amount: tuple[int, int]
    quiet: int
    """Months without a transaction."""
    changes: int


def _year(sheet: Sheet) -> Year:
    if sheet.year is None:
        sheet.year = _summed(sheet, *sheet.features["year"])
    return sheet.year


def _summed(sheet: Sheet, periods: list[int], counts: list[int], amounts: list[int]) -> Year:
    period = sheet.today // PERIOD
    start = bisect_right(periods, period - PERIODS_OF_YEAR)
    middle = bisect_right(periods, period - PERIODS_OF_YEAR // 2)
    busy = {(period - one) // PERIODS_OF_MONTH for one in periods[start:]}
    return Year(
        sum(counts[start:]),
        sum(amounts[start:]),
        (sum(counts[middle:]), sum(counts[start:middle])),
        (sum(amounts[middle:]), sum(amounts[start:middle])),
        MONTHS - len(busy),
        (period + 1) * PERIOD * DAY if start < len(periods) else LAST_SECOND,
    )


def _of_year(number: Callable[[Year], Number]) -> Measure:
    def measure(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
        year = _year(sheet)
        return number(year), year.changes

    return measure


def _ratio(pair: tuple[int, int]) -> Number:
    return pair[0] / pair[1] if pair[1] else None


def _open_complaint(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """For more than how many whole days the oldest complaint or dispute has been open."""
    since = [case["at"] for case in sheet.features["cases"].values() if case["complaint"]]
    if not since:
        return None, LAST_SECOND
    days = (sheet.at - min(since) - 1) // DAY
    return days, _grown(min(since) + 1, days, steps)


def _complaints(sheet: Sheet) -> list[dict[str, Any]]:
    cases = [case for case in sheet.features.get("cases", {}).values() if case["complaint"]]
    return sorted(cases, key=lambda case: (case["at"], case["source"]))


def _rejected(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    since = sheet.features["rejected"][0]
    days = (sheet.at - since) // DAY
    return days, _grown(since, days, steps)


def _failures(sheet: Sheet) -> tuple[list[str], int, int, int]:
    """Sources, missed deadlines, reopened cases of a quarter, and when either may change.

    A deadline is missed by a case that is still open, or was by one that was resolved too late.
    """
    features, at, changes, window = sheet.features, sheet.at, LAST_SECOND, QUARTER * DAY
    breached: list[tuple[int, str]] = []
    for case in features.get("cases", {}).values():
        if case["due"]:
            due = min(case["due"].values())
            if at > due:
                breached.append((case["at"], case["source"]))
            else:
                changes = min(changes, due + 1)
    late = [one for one in features.get("late", ()) if at < one[0] + window]
    reopened = [one for one in features.get("reopened", ()) if at < one[0] + window]
    for since, _ in late + reopened:
        changes = min(changes, since + window)
    sources = [source for _, source in sorted(breached)] + [source for _, source in late + reopened]
    return sources, len(breached) + len(late), len(reopened), changes


def _service(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Deadlines missed, and pairs of reopened cases."""
    features = sheet.features
    if not (features.get("cases") or "late" in features or "reopened" in features):
        return 0, LAST_SECOND
    _, missed, reopened, changes = _failures(sheet)
    return missed + reopened // 2, changes


def _shown_failures(sheet: Sheet, value: float) -> str:
    _, missed, reopened, _ = _failures(sheet)
    return f"{missed} deadline(s) missed, {reopened} reopened"


def _csat(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    answer = sheet.features["csat"]
    return answer[1] * 5 / answer[2], LAST_SECOND


def _nps(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    return sheet.features["nps"][1], LAST_SECOND


def _contacts(sheet: Sheet) -> tuple[int, int, int, int]:
    """Contacts of the last month, of the months before that the log covers, how many those are, and what changes when.

    The months begin with the first event that is known of the customer.
    """
    days, counts = sheet.features["contacts"]
    middle = bisect_right(days, sheet.today - MONTH)
    start = bisect_right(days, sheet.today - MONTH - YEAR)
    changes = LAST_SECOND
    if middle < len(days):
        changes = (days[middle] + MONTH) * DAY
    if start < middle:
        changes = min(changes, (days[start] + MONTH + YEAR) * DAY)
    seen = sheet.features["seen"][0] // DAY
    months = min(MONTHS, (sheet.today - seen) // MONTH - 1)
    if days and months < MONTHS:
        changes = min(changes, (seen + (max(months, 0) + 2) * MONTH) * DAY)
    return sum(counts[middle:]), sum(counts[start:middle]), months, changes


def _contacts_month(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    if "contacts" not in sheet.features:
        return 0, LAST_SECOND
    days, counts = sheet.features["contacts"]
    middle = bisect_right(days, sheet.today - MONTH)
    return sum(counts[middle:]), (days[middle] + MONTH) * DAY if middle < len(days) else LAST_SECOND


def _contacts_year(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    if "contacts" not in sheet.features:
        return 0, LAST_SECOND
    days, counts = sheet.features["contacts"]
    start = bisect_right(days, sheet.today - YEAR)
    return sum(counts[start:]), (days[start] + YEAR) * DAY if start < len(days) else LAST_SECOND


def _surge(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Contacts of the last month, as a multiple of the customer's own mean of the months before."""
    recent, before, months, changes = _contacts(sheet)
    if months < 1 or not recent:
        return None, changes
    return (recent * months / before if before else float("inf")), changes


def _shown_surge(sheet: Sheet, value: float) -> str:
    recent, before, months, _ = _contacts(sheet)
    return f"{recent} after {before} in {months} month(s)"


def _salary(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Days since the last salary, where the last ones came regularly."""
    days = sheet.features["salaries"]
    if len(days) < SALARIES or days[-1] - days[0] > SALARIES_WITHIN:
        return None, LAST_SECOND
    return sheet.today - days[-1], _grown(days[-1] * DAY, sheet.today - days[-1], steps)


def _products(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    return sheet.features["products"][0], LAST_SECOND


def _tenure(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    since = sheet.features["since"][0]
    days = sheet.today - since
    return days, _grown(since * DAY, days, steps)


def _kept(name: str, at: int = -1) -> Callable[[Sheet], Sequence[str]]:
    """The source that is kept with what is known under a name."""
    return lambda sheet: [sheet.features[name][at]]


def _posted(sheet: Sheet) -> Sequence[str]:
    sources: Sequence[str] = sheet.features.get("posted_sources", ())
    return sources


def _called(sheet: Sheet) -> Sequence[str]:
    sources: Sequence[str] = sheet.features.get("contact_sources", ())
    return sources


def _amount(sheet: Sheet, value: float) -> str:
    return f"{value:,.0f} minor units"


def _last_active(sheet: Sheet) -> list[Any]:
    known: list[Any] = sheet.features.get("active") or sheet.features["seen"]
    return known


AGAINST = "90 d against the 90 d before"
HALVES = "6 months against the 6 months before"
CALLS = "30 d against the 12 months before"

FEATURES: Mapping[str, Feature] = {
    "inactive_days": Feature(
        "since the last activity",
        _inactive,
        lambda sheet, _: f"since {iso(_last_active(sheet)[0] // DAY)}",
        lambda sheet: [_last_active(sheet)[1]],
    ),
    "balance_fall": Feature(AGAINST, _balance, lambda _, value: f"{round(-value)} %", _of_accounts, needs="balances"),
    "transactions_ratio": Feature(AGAINST, _transactions_ratio, _shown_quarters, _posted, needs="posted"),
    "transactions_12m": Feature(
        "12 months", _of_year(lambda y: y.count), lambda _, v: f"{v:.0f} transactions", _posted, needs="year"
    ),
    "amount_12m": Feature("12 months", _of_year(lambda y: y.amount), _amount, _posted, needs="year"),
    "mean_amount_12m": Feature(
        "12 months", _of_year(lambda y: _ratio((y.amount, y.count))), _amount, _posted, needs="year"
    ),
    "count_ratio": Feature(
        HALVES,
        _of_year(lambda y: _ratio(y.half_count)),
        lambda _, v: f"{v:.2f} times as many",
        _posted,
        needs="year",
    ),
    "amount_ratio": Feature(
        HALVES,
        _of_year(lambda y: _ratio(y.half_amount)),
        lambda _, v: f"{v:.2f} times as much",
        _posted,
        needs="year",
    ),
    "quiet_months": Feature(
        "12 months", _of_year(lambda y: y.quiet), lambda _, v: f"{v:.0f} without any", _posted, needs="year"
    ),
    "open_complaint_days": Feature(
        "while it is open",
        _open_complaint,
        lambda sheet, _: f"open since {iso(_complaints(sheet)[0]['at'] // DAY)}",
        lambda sheet: [case["source"] for case in _complaints(sheet)][:SOURCES],
        needs="cases",
    ),
    "rejected_days": Feature(
        "since the last rejection",
        _rejected,
        lambda sheet, _: f"on {iso(sheet.features['rejected'][0] // DAY)}",
        _kept("rejected"),
        needs="rejected",
    ),
    "service_failures": Feature("90 d", _service, _shown_failures, lambda sheet: _failures(sheet)[0][:SOURCES]),
    "csat_of_five": Feature(
        "last answer",
        _csat,
        lambda sheet, _: f"CSAT {sheet.features['csat'][1]} of {sheet.features['csat'][2]}",
        _kept("csat"),
        needs="csat",
    ),
    "nps": Feature("last answer", _nps, lambda _, value: f"NPS {value:.0f}", _kept("nps"), needs="nps"),
    "contacts_30d": Feature("30 d", _contacts_month, lambda _, value: f"{value:.0f} contacts", _called),
    "contacts_12m": Feature("12 months", _contacts_year, lambda _, value: f"{value:.0f} contacts", _called),
    "contacts_surge": Feature(CALLS, _surge, _shown_surge, _called, needs="contacts"),
    "salary_stop_days": Feature(
        "since the last salary",
        _salary,
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
    "credit_limit": Feature("now", _limit, _amount, _of_accounts, needs="balances"),
    "owed": Feature("now", _owed, _amount, _of_accounts, needs="balances"),
    "utilisation": Feature(
        "now", _utilisation, lambda _, value: f"{100 * value:.0f} % of the limit", _of_accounts, needs="balances"
    ),
}
"""By name: all that a model may use. None says who a customer is; what must not be one is told in
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
