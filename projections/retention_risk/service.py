"""What service says of a customer: complaints, missed deadlines, answers and contacts."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from domain.clocks.judgement import PRESET, verdicts
from projections.retention_risk.sheet import Number, Sheet, Steps, grown
from projections.retention_risk.windows import DAY, LAST_SECOND


def open_complaint(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """For more than how many whole days the oldest complaint or dispute has been open."""
    since = [case["at"] for case in sheet.features["cases"].values() if case["complaint"]]
    if not since:
        return None, LAST_SECOND
    return grown(sheet, min(since) + 1, steps)


def complaints(sheet: Sheet) -> list[dict[str, Any]]:
    """The complaints and disputes that are open, the oldest first."""
    cases = [case for case in sheet.features.get("cases", {}).values() if case["complaint"]]
    return sorted(cases, key=lambda case: (case["at"], case["source"]))


def rejected(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Whole days since a complaint was rejected last."""
    return grown(sheet, sheet.features["rejected"][0], steps)


def failures(sheet: Sheet) -> tuple[list[str], int, int, int]:
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


def service_failures(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Deadlines missed, and pairs of reopened cases."""
    features = sheet.features
    if not (features.get("cases") or "late" in features or "reopened" in features):
        return 0, LAST_SECOND
    _, missed, reopened, changes = failures(sheet)
    return missed + reopened // 2, changes


def shown_failures(sheet: Sheet, value: float) -> str:
    """Both kinds of failures, as people read them."""
    _, missed, reopened, _ = failures(sheet)
    return f"{missed} deadline(s) missed, {reopened} reopened"


def csat(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """The last answer about satisfaction, on a scale of five."""
    answer = sheet.features["csat"]
    return answer[1] * 5 / answer[2], LAST_SECOND


def nps(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """The last answer whether the bank would be recommended."""
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


def contacts_of_month(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Contacts of the last month."""
    return _contacts_of(sheet, sheet.spans.month)


def contacts_of_year(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Contacts of the last year."""
    return _contacts_of(sheet, sheet.spans.year)


def surge(sheet: Sheet, steps: Steps) -> tuple[Number, int]:
    """Contacts of the last month, as a multiple of the customer's own mean of the months before."""
    recent, before, months, changes = _contacts(sheet)
    if months < 1 or not recent:
        return None, changes
    return (recent * months / before if before else float("inf")), changes


def shown_surge(sheet: Sheet, value: float) -> str:
    """Both counts of contacts, as people read them."""
    recent, before, months, _ = _contacts(sheet)
    return f"{recent} after {before} in {months} month(s)"


def contacts(sheet: Sheet) -> Sequence[str]:
    """The last contacts."""
    sources: Sequence[str] = sheet.features.get("contact_sources", ())
    return sources[-sheet.spans.sources :]
