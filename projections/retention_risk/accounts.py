"""What the accounts of a customer say: balances, credit, transactions and salary."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from projections.retention_risk.sheet import Measure, Number, Sheet, Steps, Year, grown
from projections.retention_risk.windows import DAY, LAST_SECOND


def balance_fall(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
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


def balances(sheet: Sheet) -> list[str]:
    """The last balances that are known."""
    accounts = sorted(_accounts(sheet), key=lambda a: (a["at"], a["source"]))
    return [a["source"] for a in accounts][-sheet.spans.sources :]


def _credit(sheet: Sheet) -> tuple[int, int] | None:
    """What is owed on the accounts with a credit limit, and their limits; None where none has one."""
    if sheet.credit is None:
        lent = [a for a in _accounts(sheet) if a.get("limit") is not None]
        if lent:
            sheet.credit = sum(max(0, -a["minor"][-1]) for a in lent), sum(a["limit"] for a in lent)
    return sheet.credit


def limit(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """The credit limits of all accounts, in minor units."""
    credit = _credit(sheet)
    return (credit[1] if credit else None), LAST_SECOND


def owed(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """What is owed on the accounts with a credit limit, in minor units."""
    credit = _credit(sheet)
    return (credit[0] if credit else None), LAST_SECOND


def utilisation(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """The share of the credit limits that is used."""
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


def transactions_ratio(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Transactions of the last quarter, as a multiple of those of the one before."""
    recent, prior, changes = _quarters(sheet)
    return (recent / prior if prior else None), changes


def shown_transactions(sheet: Sheet, value: float) -> str:
    """Both quarters, as people read them."""
    recent, prior, _ = _quarters(sheet)
    return f"{recent} after {prior}"


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


def of_year(number: Callable[[Year], Number]) -> Measure:
    """A number of the last year of transactions."""

    def measure(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
        year = _year(sheet)
        return number(year), year.changes

    return measure


def ratio(pair: tuple[int, int]) -> Number:
    """The first as a multiple of the second; None where that is 0."""
    return pair[0] / pair[1] if pair[1] else None


def salary_stop(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Days since the last salary, where the last ones came regularly."""
    spans = sheet.spans
    days = sheet.features["salaries"][-spans.salaries :]
    if len(days) < spans.salaries or days[-1] - days[0] > spans.salaries_within:
        return None, LAST_SECOND
    return grown(sheet, days[-1] * DAY, steps)


def transactions(sheet: Sheet) -> Sequence[str]:
    """The last transactions."""
    sources: Sequence[str] = sheet.features.get("posted_sources", ())
    return sources[-sheet.spans.sources :]


def shown_amount(sheet: Sheet, value: float) -> str:
    """An amount, as people read it."""
    return f"{value:,.0f} minor units"
