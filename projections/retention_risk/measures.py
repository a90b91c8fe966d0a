"""Features as numbers: what a customer's kept events say at a moment, and when that changes because time passes.

Each feature is a value with its window. `measure` gives the number, or None when it is not known, and the next second
at which it may be another one; of those that grow with time alone, the next second at which they reach one of `steps`.
Until that second the number stays in its bin, and so does what is shown of it.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.clocks.judgement import PRESET, verdicts
from projections.retention_risk.windows import DAY, LAST_SECOND, RELEASED, Measured, Spans, iso

Features = dict[str, Any]
Number = float | None
Steps = tuple[int, ...]
"""Whole days at which a feature that grows with time enters another bin."""


class Sheet:
    """What is kept of a customer, at a second; and what several features share, made once.

    The moment must not be before the last event that `features` know of. `until` is the second at which other windows
    begin.
    """

    __slots__ = ("at", "credit", "features", "spans", "today", "until", "year")

    def __init__(self, features: Features, second: int, windows: Measured = RELEASED) -> None:
        self.features, self.at, self.today = features, second, second // DAY
        self.spans, self.until = windows.at(second)
        self.year: Year | None = None
        self.credit: tuple[int, int] | None = None


Measure = Callable[[Sheet, Steps], tuple[Number, int]]


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


def _grown(since: int, days: int, steps: Steps) -> int:
    index = bisect_right(steps, days)
    return since + steps[index] * DAY if index < len(steps) else LAST_SECOND


def _inactive(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    since = (sheet.features.get("active") or sheet.features["seen"])[0]
    days = (sheet.at - since) // DAY
    return days, _grown(since, days, steps)


def _balance(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """By how many percent the mean balance of a quarter's periods, this one included, fell from that of those before.

    Accounts add up in the currency in which the first balance was known; the others are left out.
    """
    accounts, spans = _accounts(sheet), sheet.spans
    period, quarter = sheet.today // spans.period, spans.periods_of_quarter
    totals: list[int] = []
    for p in range(period - 2 * quarter + 1, period + 1):
        last = spans.last_grain(p)
        known = [n for account in accounts if (n := _balance_in(account, last)) is not None]
        if known:
            totals.append(sum(known))
    recent, prior = totals[-quarter:], totals[:-quarter]
    # A balance that is known for a quarter only will be compared with itself: no fall is another answer than none.
    moves = len(set(totals)) > 1 or (recent and not prior)
    changes = (period + 1) * spans.period * DAY if moves else LAST_SECOND
    before, now = sum(prior) * len(recent), sum(recent) * len(prior)
    return (100 * (before - now) / before if before > 0 else None), changes


def _accounts(sheet: Sheet) -> list[dict[str, Any]]:
    currency = sheet.features.get("currency")
    return [a for a in sheet.features["balances"].values() if a["currency"] == currency]


def _balance_in(account: dict[str, Any], grain: int) -> int | None:
    """The last balance up to the end of a grain; None before the first that is known."""
    index = bisect_right(account["periods"], grain)
    balance: int = account["minor"][index - 1] if index else 0
    return balance if index else None


def _of_accounts(sheet: Sheet) -> list[str]:
    accounts = sorted(_accounts(sheet), key=lambda a: (a["at"], a["source"]))
    return [a["source"] for a in accounts][-sheet.spans.sources :]


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
    """Transactions of the last quarter and of the one before, and when either may change."""
    days, counts = sheet.features["posted"]
    quarter = sheet.spans.quarter
    middle, start = bisect_right(days, sheet.today - quarter), bisect_right(days, sheet.today - 2 * quarter)
    changes = LAST_SECOND
    if middle < len(days):
        changes = (days[middle] + quarter) * DAY
    if start < middle:
        changes = min(changes, (days[start] + 2 * quarter) * DAY)
    return sum(counts[middle:]), sum(counts[start:middle]), changes


def _transactions_ratio(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    recent, prior, changes = _quarters(sheet)
    return (recent / prior if prior else None), changes


def _shown_quarters(sheet: Sheet, value: float) -> str:
    recent, prior, _ = _quarters(sheet)
    return f"{recent} after {prior}"


@dataclass(frozen=True, slots=True)
class Year:
    """The transactions of a year of periods, this one included, and of its last and first half."""

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


def _summed(sheet: Sheet, grains: list[int], counts: list[int], amounts: list[int]) -> Year:
    spans = sheet.spans
    period = sheet.today // spans.period
    start = bisect_right(grains, spans.last_grain(period - spans.periods_of_year))
    middle = bisect_right(grains, spans.last_grain(period - spans.periods_of_year // 2))
    busy = {(period - grain // spans.grains) // spans.periods_of_month for grain in grains[start:]}
    return Year(
        sum(counts[start:]),
        sum(amounts[start:]),
        (sum(counts[middle:]), sum(counts[start:middle])),
        (sum(amounts[middle:]), sum(amounts[start:middle])),
        spans.months - len(busy),
        (period + 1) * spans.period * DAY if start < len(grains) else LAST_SECOND,
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

    One is missed by a case that is still open, also when it was moved since, or was by one that is over.
    """
    features, at, changes, window = sheet.features, sheet.at, LAST_SECOND, sheet.spans.quarter * DAY
    breached: list[tuple[int, str]] = []
    for case in features.get("cases", {}).values():
        if any(not one.is_met for one in verdicts(case, at)):
            breached.append((case["at"], case["source"]))
        else:
            dues = [due for clock in PRESET if (due := case.get(f"{clock}_due")) is not None]
            changes = min(changes, *(due + 1 for due in dues)) if dues else changes
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
    month, all_months = sheet.spans.month, sheet.spans.months
    both = month + sheet.spans.year
    middle, start = bisect_right(days, sheet.today - month), bisect_right(days, sheet.today - both)
    changes = LAST_SECOND
    if middle < len(days):
        changes = (days[middle] + month) * DAY
    if start < middle:
        changes = min(changes, (days[start] + both) * DAY)
    seen = sheet.features["seen"][0] // DAY
    months = min(all_months, (sheet.today - seen) // month - 1)
    if days and months < all_months:
        changes = min(changes, (seen + (max(months, 0) + 2) * month) * DAY)
    return sum(counts[middle:]), sum(counts[start:middle]), months, changes


def _contacts_of(sheet: Sheet, length: int) -> tuple[Number, int]:
    """Contacts of so many days."""
    if "contacts" not in sheet.features:
        return 0, LAST_SECOND
    days, counts = sheet.features["contacts"]
    start = bisect_right(days, sheet.today - length)
    return sum(counts[start:]), (days[start] + length) * DAY if start < len(days) else LAST_SECOND


def _contacts_month(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    return _contacts_of(sheet, sheet.spans.month)


def _contacts_year(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    return _contacts_of(sheet, sheet.spans.year)


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
    spans = sheet.spans
    days = sheet.features["salaries"][-spans.salaries :]
    if len(days) < spans.salaries or days[-1] - days[0] > spans.salaries_within:
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
    return sources[-sheet.spans.sources :]


def _called(sheet: Sheet) -> Sequence[str]:
    sources: Sequence[str] = sheet.features.get("contact_sources", ())
    return sources[-sheet.spans.sources :]


def _amount(sheet: Sheet, value: float) -> str:
    return f"{value:,.0f} minor units"


def _last_active(sheet: Sheet) -> list[Any]:
    known: list[Any] = sheet.features.get("active") or sheet.features["seen"]
    return known


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
    "balance_fall": Feature(AGAINST, _balance, lambda _, value: f"{round(-value)} %", _of_accounts, needs="balances"),
    "transactions_ratio": Feature(AGAINST, _transactions_ratio, _shown_quarters, _posted, needs="posted"),
    "transactions_12m": Feature(
        A_YEAR, _of_year(lambda y: y.count), lambda _, v: f"{v:.0f} transactions", _posted, needs="year"
    ),
    "amount_12m": Feature(A_YEAR, _of_year(lambda y: y.amount), _amount, _posted, needs="year"),
    "mean_amount_12m": Feature(A_YEAR, _of_year(lambda y: _ratio((y.amount, y.count))), _amount, _posted, needs="year"),
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
        A_YEAR, _of_year(lambda y: y.quiet), lambda _, v: f"{v:.0f} without any", _posted, needs="year"
    ),
    "open_complaint_days": Feature(
        "while it is open",
        _open_complaint,
        lambda sheet, _: f"open since {iso(_complaints(sheet)[0]['at'] // DAY)}",
        lambda sheet: [case["source"] for case in _complaints(sheet)][: sheet.spans.sources],
        needs="cases",
    ),
    "rejected_days": Feature(
        "since the last rejection",
        _rejected,
        lambda sheet, _: f"on {iso(sheet.features['rejected'][0] // DAY)}",
        _kept("rejected"),
        needs="rejected",
    ),
    "service_failures": Feature(
        A_QUARTER, _service, _shown_failures, lambda sheet: _failures(sheet)[0][: sheet.spans.sources]
    ),
    "csat_of_five": Feature(
        "last answer",
        _csat,
        lambda sheet, _: f"CSAT {sheet.features['csat'][1]} of {sheet.features['csat'][2]}",
        _kept("csat"),
        needs="csat",
    ),
    "nps": Feature("last answer", _nps, lambda _, value: f"NPS {value:.0f}", _kept("nps"), needs="nps"),
    "contacts_30d": Feature(A_MONTH, _contacts_month, lambda _, value: f"{value:.0f} contacts", _called),
    "contacts_12m": Feature(A_YEAR, _contacts_year, lambda _, value: f"{value:.0f} contacts", _called),
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
