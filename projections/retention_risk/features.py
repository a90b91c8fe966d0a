"""What the scorecard needs of a customer's events, kept small: one step per event name.

Days older than the longest window go, and lists of sources are cut. A step replaces what it changes and never touches
a list or dictionary that it got. What is kept depends on the events alone, not on when a row was scored, nor on the
order of events of different topics, which nobody promises.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from projections.retention_risk.scorecard import (
    CONTACT_MONTH,
    CONTACT_YEAR,
    DAY,
    QUARTER,
    SOURCES,
    TEN_DAYS,
    Features,
    day_of,
    second_of,
)

OPEN_CASES = 20
REOPENS = 5
ACCOUNTS = 20
LONGEST = {"contacts": CONTACT_MONTH + CONTACT_YEAR, "posted": 2 * QUARTER}
"""Days that are kept of each series."""
PERIODS = 19
"""Ten-day periods of balances: the 18 of both quarters, and the last known before them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event for the feature steps: its data, its second, and `source#event_id`."""

    data: Any
    at: int
    source: str


def _see(features: Features, seen: Seen) -> None:
    """The customer exists, since this event at the latest."""
    features["seen"] = min(features.get("seen", [seen.at, seen.source]), [seen.at, seen.source])


def _act(features: Features, seen: Seen) -> None:
    """The customer did something of their own accord."""
    _see(features, seen)
    features["active"] = max(features.get("active", [seen.at, seen.source]), [seen.at, seen.source])


def _counted(series: list[list[int]], day: int) -> list[list[int]]:
    """Days and their counts with one more on `day`."""
    days, counts = list(series[0]), list(series[1])
    index = bisect_left(days, day)
    if index < len(days) and days[index] == day:
        counts[index] += 1
    else:
        days.insert(index, day)
        counts.insert(index, 1)
    return [days, counts]


def forget_old_days(features: Features) -> None:
    """Drop the days that no window reaches any more. After each event of any kind, so that order does not matter."""
    today = features["at"] // DAY
    for name, days in LONGEST.items():
        series = features.get(name)
        if series is not None and series[0] and series[0][0] <= today - days:
            start = bisect_left(series[0], today - days + 1)
            features[name] = [series[0][start:], series[1][start:]]


def _registered(features: Features, seen: Seen) -> None:
    _see(features, seen)
    if seen.data.customer_since:
        features["since"] = [day_of(seen.data.customer_since), seen.source]
    features["products"] = [len(seen.data.products), seen.source]


def _profile_changed(features: Features, seen: Seen) -> None:
    if seen.data.products is not None:
        features["products"] = [len(seen.data.products), seen.source]


def _closed(features: Features, seen: Seen) -> None:
    features["closed"] = seen.at


def _nothing(features: Features, seen: Seen) -> None:
    """Changes a dimension of the row only."""


def _contacted(features: Features, seen: Seen) -> None:
    _act(features, seen)
    features["contacts"] = _counted(features.get("contacts", [[], []]), seen.at // DAY)
    features["contact_sources"] = [*features.get("contact_sources", []), seen.source][-SOURCES:]


def _opened(features: Features, seen: Seen) -> None:
    _act(features, seen)
    received = second_of(seen.data.received_at) if seen.data.received_at else seen.at
    _open(features, seen, received, seen.data.case_type in ("complaint", "dispute"))


def _open(features: Features, seen: Seen, since: int, complaint: bool) -> None:
    cases = dict(features.get("cases", {}))
    cases[seen.data.complaint_id] = {"at": since, "source": seen.source, "complaint": complaint, "due": {}}
    features["cases"] = dict(sorted(cases.items(), key=lambda one: (one[1]["at"], one[0]))[-OPEN_CASES:])


def _clock_set(features: Features, seen: Seen) -> None:
    case = features.get("cases", {}).get(seen.data.complaint_id)
    if case is None:
        return
    due = {name: at for name, at in case["due"].items() if name != seen.data.clock}
    if seen.data.due_at is not None:
        due[seen.data.clock] = second_of(seen.data.due_at)
    features["cases"] = features["cases"] | {seen.data.complaint_id: case | {"due": due}}


def _left(features: Features, seen: Seen) -> None:
    """The case is open no longer; remember if that was after a deadline."""
    cases = dict(features.get("cases", {}))
    case = cases.pop(seen.data.complaint_id, None)
    if case is None:
        return
    features["cases"] = cases
    due = min(case["due"].values(), default=None)
    if due is not None and seen.at > due:
        features["late"] = [*features.get("late", []), [seen.at, seen.source]][-REOPENS:]


def _resolved(features: Features, seen: Seen) -> None:
    _left(features, seen)
    if seen.data.outcome == "rejected" and features.get("rejected", [seen.at])[0] <= seen.at:
        features["rejected"] = [seen.at, seen.source]


def _reopened(features: Features, seen: Seen) -> None:
    # Whatever it was at first, a case that comes back is a complaint that starts now.
    _act(features, seen)
    _open(features, seen, seen.at, True)
    features["reopened"] = [*features.get("reopened", []), [seen.at, seen.source]][-REOPENS:]


def _scored(features: Features, seen: Seen) -> None:
    _see(features, seen)
    metric = seen.data.metric
    if metric in ("csat", "nps") and features.get(metric, [seen.at])[0] <= seen.at:
        features[metric] = [seen.at, seen.data.score, seen.data.scale, seen.source]


def _posted(features: Features, seen: Seen) -> None:
    data = seen.data
    if data.kind in ("card", "cash") or (data.kind in ("transfer", "other") and data.amount.minor < 0):
        _act(features, seen)
    _see(features, seen)
    # A posting for a later day counts from now on: a window never has to wait for a day to come.
    day = min(day_of(data.booked_on), seen.at // DAY)
    features["posted"] = _counted(features.get("posted", [[], []]), day)
    features["posted_sources"] = [*features.get("posted_sources", []), seen.source][-SOURCES:]
    if data.kind == "salary" and data.amount.minor > 0:
        days = features.get("salaries", [])
        if day not in days:
            features["salaries"] = sorted([*days, day])[-3:]
            if features["salaries"][-1] == day:
                features["salary_source"] = seen.source
    if data.balance is not None:
        _balance_known(features, seen)


def _balance_known(features: Features, seen: Seen) -> None:
    """Keep the last balance of each ten-day period. One that arrives late says nothing of today and is left out."""
    data, period = seen.data, seen.at // DAY // TEN_DAYS
    balances = features.get("balances", {})
    known = balances.get(data.account_id, {"periods": [], "minor": [], "at": seen.at})
    if seen.at < known["at"] or (not known["periods"] and len(balances) >= ACCOUNTS):
        return
    same = known["periods"][-1:] == [period]
    account = {
        "currency": data.balance.currency,
        "periods": known["periods"] if same else [*known["periods"], period][-PERIODS:],
        "minor": [*(known["minor"][:-1] if same else known["minor"]), data.balance.minor][-PERIODS:],
        "at": seen.at,
        "source": seen.source,
    }
    features["balances"] = balances | {data.account_id: account}
    features.setdefault("currency", data.balance.currency)


def _reversed(features: Features, seen: Seen) -> None:
    """Take the posting back where it was counted: on the day it was booked, or just before it."""
    days, counts = features.get("posted", [[], []])
    booked = day_of(seen.data.booked_on)
    index = bisect_right(days, booked) - 1
    if index < 0 or days[index] < booked - 1:
        return
    counts = [*counts[:index], counts[index] - 1, *counts[index + 1 :]]
    kept = [i for i, n in enumerate(counts) if n]
    features["posted"] = [[days[i] for i in kept], [counts[i] for i in kept]]


STEPS: dict[str, Callable[[Features, Seen], None]] = {
    "customer.registered": _registered,
    "customer.profile-changed": _profile_changed,
    "customer.manager-assigned": _nothing,
    "customer.closed": _closed,
    "contact.queued": _contacted,
    "complaint.opened": _opened,
    "complaint.clock-set": _clock_set,
    "complaint.resolved": _resolved,
    "complaint.withdrawn": _left,
    "complaint.closed": _left,
    "complaint.reopened": _reopened,
    "survey.scored": _scored,
    "transaction.posted": _posted,
    "transaction.reversed": _reversed,
}
