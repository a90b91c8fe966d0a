"""The cold-start scorecard: points with reasons on the scale of log odds, from a base of -3.0.

There are no labels yet, so these are rules that an expert can argue about; points and thresholds are proposals to
calibrate. The score is additive: base plus points of the reasons is the logit, exactly.

`features` hold seconds and days since 1970-01-01 (UTC); `projections.retention_risk.features` makes them.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from operator import itemgetter
from typing import Any

from domain.values import Value
from projections.measures.ranks import logistic

Features = dict[str, Any]

BASE = -30
"""Points are kept in tenths, so that they add up exactly."""
DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
LAST_SECOND = 253_402_300_799
"""The end of the calendar: 9999-12-31T23:59:59Z."""
QUARTER = 90
TEN_DAYS = 10
COMPLAINT_AGE = 15 * DAY
REJECTED_FOR = 180 * DAY
SALARY_STOPS = 45
"""Days without a salary, after three that came regularly, that count as a stop."""
SALARY_REGULAR = 100
"""Three salaries within this many days are regular."""
CONTACT_MONTH = 30
CONTACT_YEAR = 12 * CONTACT_MONTH
TENURE = 1826
"""Five years in days."""
OF_CASES = ("cases", "rejected", "reopened", "late")
SOURCES = 3
"""How many sources are named of things that are counted; the timeline has them all."""


class Reason(Value):
    """One line of the scorecard that applies: its points on the logit scale, what was seen, when, and in which events.

    `sources` are `source#event_id` of messages; of counted things the latest few.
    """

    code: str
    points: Decimal
    value: str
    window: str
    sources: tuple[str, ...]


class Scored(Value):
    """A score. `logit` is the base plus the points of the reasons, exactly; None when there is nothing to score.

    Until `next_change_at` the score and its reasons stay as they are unless an event comes; None: for ever.
    """

    band: str
    logit: Decimal | None = None
    probability: float | None = None
    reasons: tuple[Reason, ...] = ()
    next_change_at: datetime | None = None


UNKNOWN = Scored("unknown")
CLOSED = Scored("closed")


@dataclass(slots=True)
class Sheet:
    """A score in the making: what applies at second `at`, and the next second at which any of it can change."""

    features: Features
    at: int
    today: int
    reasons: list[tuple[int, Reason]]
    next: int = LAST_SECOND

    def add(self, code: str, tenths: int, value: str, window: str, sources: list[str]) -> None:
        self.reasons.append((tenths, Reason(code, _points(tenths), value, window, tuple(sources))))

    def changes(self, second: int) -> None:
        """Something changes at this second, if it is still to come."""
        if self.at < second < self.next:
            self.next = second


@cache
def _points(tenths: int) -> Decimal:
    return Decimal(tenths).scaleb(-1)


@cache
def _probability(tenths: int) -> float:
    return round(logistic(tenths / 10), 6)


def _band(probability: float) -> str:
    return "low" if probability < 0.10 else "medium" if probability < 0.30 else "high"


# --- the scorecard ---


def _inactivity(sheet: Sheet) -> None:
    at, source = sheet.features.get("active") or sheet.features["seen"]
    for days, tenths in ((90, 15), (60, 9), (30, 4)):
        since = at + days * DAY
        if sheet.at >= since:
            sheet.add("inactive", tenths, f"since {_iso(at // DAY)}", f"{days} d", [source])
            break
        sheet.changes(since)


def _balance(sheet: Sheet) -> None:
    """Mean of the balances at the end of nine ten-day periods, this one included, against the nine before.

    Accounts add up in the currency in which the first balance was known; the others are left out.
    """
    if "balances" not in sheet.features:
        return
    currency = sheet.features["currency"]
    accounts = [a for a in sheet.features["balances"].values() if a["currency"] == currency]
    period = sheet.today // TEN_DAYS
    totals: list[int] = []
    for p in range(period - 17, period + 1):
        known = [n for account in accounts if (n := _balance_in(account, p)) is not None]
        if known:
            totals.append(sum(known))
    if len(set(totals)) > 1:
        sheet.changes((period + 1) * TEN_DAYS * DAY)
    recent, prior = totals[-9:], totals[:-9]
    before, now = sum(prior) * len(recent), sum(recent) * len(prior)
    if before <= 0 or now * 10 > before * 7:
        return
    tenths = 12 if now * 10 < before * 4 else 6
    sources = [a["source"] for a in sorted(accounts, key=lambda a: (a["at"], a["source"]))]
    change = f"{round(100 * (now - before) / before)} %"
    sheet.add("balance-falls", tenths, change, "90 d against the 90 d before", sources[-SOURCES:])


def _balance_in(account: dict[str, Any], period: int) -> int | None:
    """The last balance up to the end of a ten-day period; None before the first that is known."""
    index = bisect_right(account["periods"], period)
    balance: int = account["minor"][index - 1] if index else 0
    return balance if index else None


def _transactions(sheet: Sheet) -> None:
    if "posted" not in sheet.features:
        return
    days, counts = sheet.features["posted"]
    middle, start = bisect_right(days, sheet.today - QUARTER), bisect_right(days, sheet.today - 2 * QUARTER)
    for first in days[middle : middle + 1]:
        sheet.changes((first + QUARTER) * DAY)
    for first in days[start : min(start + 1, middle)]:
        sheet.changes((first + 2 * QUARTER) * DAY)
    recent, prior = sum(counts[middle:]), sum(counts[start:middle])
    if recent * 2 < prior:
        sources = sheet.features.get("posted_sources", [])
        sheet.add("fewer-transactions", 8, f"{recent} after {prior}", "90 d against the 90 d before", sources)


def _complaints(sheet: Sheet) -> None:
    if sheet.features.keys().isdisjoint(OF_CASES):
        return
    old: list[dict[str, Any]] = []
    breached: list[str] = []
    for case in sorted(sheet.features.get("cases", {}).values(), key=lambda case: (case["at"], case["source"])):
        if case["complaint"]:
            if sheet.at > case["at"] + COMPLAINT_AGE:
                old.append(case)
            else:
                sheet.changes(case["at"] + COMPLAINT_AGE + 1)
        due = min(case["due"].values(), default=None)
        if due is not None:
            if sheet.at > due:
                breached.append(case["source"])
            else:
                sheet.changes(due + 1)
    if old:
        sources = [case["source"] for case in old][:SOURCES]
        sheet.add("open-complaint", 9, f"open since {_iso(old[0]['at'] // DAY)}", "more than 15 d", sources)
    if rejected := sheet.features.get("rejected"):
        if sheet.at < rejected[0] + REJECTED_FOR:
            sheet.add("complaint-rejected", 5, f"on {_iso(rejected[0] // DAY)}", "180 d", [rejected[1]])
        sheet.changes(rejected[0] + REJECTED_FOR)
    _service(sheet, breached)


def _service(sheet: Sheet, breached: list[str]) -> None:
    """Two cases reopened, or one deadline missed, by a case that is still open or by one that was resolved too late."""
    window = QUARTER * DAY
    reopened = [one for one in sheet.features.get("reopened", []) if sheet.at < one[0] + window]
    late = [one for one in sheet.features.get("late", []) if sheet.at < one[0] + window]
    for at, _ in reopened + late:
        sheet.changes(at + window)
    missed = len(breached) + len(late)
    if missed or len(reopened) >= 2:
        sources = [*breached, *(source for _, source in late + reopened)]
        value = f"{missed} deadline(s) missed, {len(reopened)} reopened"
        sheet.add("service-failed", 5, value, "90 d", sources[:SOURCES])


def _answers(sheet: Sheet) -> None:
    if (csat := sheet.features.get("csat")) and csat[1] * 5 <= 2 * csat[2]:
        sheet.add("dissatisfied", 7, f"CSAT {csat[1]} of {csat[2]}", "last answer", [csat[3]])
    if (nps := sheet.features.get("nps")) and nps[1] <= 6:
        sheet.add("detractor", 6, f"NPS {nps[1]}", "last answer", [nps[3]])


def _contacts(sheet: Sheet) -> None:
    """More than three times the customer's own monthly mean of the year before.

    The mean is over the months that the log covers, and there must be one at least.
    """
    if "contacts" not in sheet.features:
        return
    days, counts = sheet.features["contacts"]
    middle = bisect_right(days, sheet.today - CONTACT_MONTH)
    start = bisect_right(days, sheet.today - CONTACT_MONTH - CONTACT_YEAR)
    for first in days[middle : middle + 1]:
        sheet.changes((first + CONTACT_MONTH) * DAY)
    for first in days[start : min(start + 1, middle)]:
        sheet.changes((first + CONTACT_MONTH + CONTACT_YEAR) * DAY)
    recent, before = sum(counts[middle:]), sum(counts[start:middle])
    seen = sheet.features["seen"][0] // DAY
    months = min(12, (sheet.today - seen) // CONTACT_MONTH - 1)
    if days and months < 12:
        sheet.changes((seen + (max(months, 0) + 2) * CONTACT_MONTH) * DAY)
    if months >= 1 and recent >= 3 and recent * months > 3 * before:
        value = f"{recent} after {before} in {months} month(s)"
        sources = sheet.features.get("contact_sources", [])
        sheet.add("contact-surge", 6, value, "30 d against the 12 months before", sources)


def _salary(sheet: Sheet) -> None:
    days = sheet.features.get("salaries", [])
    if len(days) == 3 and days[-1] - days[0] <= SALARY_REGULAR:
        stopped = days[-1] + SALARY_STOPS
        if sheet.today >= stopped:
            source = sheet.features["salary_source"]
            sheet.add("salary-stopped", 13, f"last on {_iso(days[-1])}", f"{SALARY_STOPS} d", [source])
        sheet.changes(stopped * DAY)


def _loyalty(sheet: Sheet) -> None:
    products = sheet.features.get("products")
    if products and products[0] >= 3:
        sheet.add("many-products", -6, f"{products[0]} products", "now", [products[1]])
    if since := sheet.features.get("since"):
        if sheet.today > since[0] + TENURE:
            sheet.add("long-tenure", -4, f"since {_iso(since[0])}", "more than 5 years", [since[1]])
        sheet.changes((since[0] + TENURE + 1) * DAY)


SCORECARD: tuple[Callable[[Sheet], None], ...] = (
    _inactivity,
    _balance,
    _transactions,
    _complaints,
    _answers,
    _contacts,
    _salary,
    _loyalty,
)


def score(features: Features, at: datetime) -> Scored:
    """The score at a moment, with the worst reason first.

    The moment must not lie before the last event that `features` know of: what was older than a window then is gone.
    """
    if features.get("closed"):
        return CLOSED
    if "seen" not in features:
        return UNKNOWN
    second = second_of(at)
    sheet = Sheet(features, second, second // DAY, [])
    for rule in SCORECARD:
        rule(sheet)
    sheet.reasons.sort(key=itemgetter(0), reverse=True)
    tenths = sum(map(itemgetter(0), sheet.reasons), BASE)
    reasons = tuple(map(itemgetter(1), sheet.reasons))
    next_change = datetime.fromtimestamp(sheet.next, UTC) if sheet.next < LAST_SECOND else None
    probability = _probability(tenths)
    return Scored(_band(probability), _points(tenths), probability, reasons, next_change)


def second_of(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return math.floor(moment.timestamp())


def day_of(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - EPOCH


def _iso(day: int) -> str:
    return date.fromordinal(EPOCH + day).isoformat()
