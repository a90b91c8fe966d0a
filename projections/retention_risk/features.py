"""What the scorecard needs of a customer's events, kept small: one step per event name.

Days older than the longest window go, and lists of sources are cut. A step changes the features in place. What is kept
depends on the events alone, not on when a row was scored, nor on the order of events of different topics, which nobody
promises.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

from domain.clocks.judgement import set_deadline, verdicts
from domain.values import Meta, Recorded
from projections.retention_risk.sheet import Features
from projections.retention_risk.windows import DAY, EPOCH, KEPT, day_of, second_of

OPEN_CASES = 20
REOPENS = 5
ACCOUNTS = 20


def identity(meta: Meta) -> str:
    """How a source event is named: `source#event_id`."""
    return f"{meta.source}#{meta.event_id}"


def _see(features: Features, at: int, source: str) -> None:
    """The customer exists, since this event at the latest."""
    seen = features.get("seen")
    if seen is None:
        features["seen"] = [at, source]
    elif at < seen[0] or (at == seen[0] and source < seen[1]):
        seen[:] = at, source


def _act(features: Features, at: int, source: str) -> None:
    """The customer did something of their own accord."""
    _see(features, at, source)
    active = features.get("active")
    if active is None:
        features["active"] = [at, source]
    elif at > active[0] or (at == active[0] and source > active[1]):
        active[0], active[1] = at, source


def _count(features: Features, name: str, day: int) -> None:
    """One more on this day of a series of days and counts."""
    series = features.get(name)
    if series is None:
        series = features[name] = [[], []]
    days, counts = series
    if not days or day > days[-1]:
        days.append(day)
        counts.append(1)
        return
    index = bisect_left(days, day)
    if days[index] == day:
        counts[index] += 1
    else:
        days.insert(index, day)
        counts.insert(index, 1)


def _keep(features: Features, name: str, one: Any, most: int) -> None:
    """Append to a list that holds so many of the latest."""
    kept = features.get(name)
    if kept is None:
        features[name] = [one]
    else:
        kept.append(one)
        if len(kept) > most:
            del kept[0]


def forget_old_days(features: Features) -> None:
    """Drop the days that no window reaches any more; whether after each event or after many makes no difference."""
    today = features["at"] // DAY
    for name, (length, kept) in KEPT.series.items():
        series = features.get(name)
        if series is not None and series[0] and series[0][0] <= (oldest := today // length - kept):
            start = bisect_right(series[0], oldest)
            features[name] = [column[start:] for column in series]


def _registered(features: Features, data: Any, at: int, source: str) -> None:
    _see(features, at, source)
    if data.customer_since:
        features["since"] = [day_of(data.customer_since), source]
    features["products"] = [len(data.products), source]


def _profile_changed(features: Features, data: Any, at: int, source: str) -> None:
    if data.products is not None:
        features["products"] = [len(data.products), source]


def _closed(features: Features, data: Any, at: int, source: str) -> None:
    features["closed"] = at


def _nothing(features: Features, data: Any, at: int, source: str) -> None:
    """Changes a dimension of the row only."""


def _contacted(features: Features, data: Any, at: int, source: str) -> None:
    _act(features, at, source)
    _count(features, "contacts", at // DAY)
    _keep(features, "contact_sources", source, KEPT.sources)


def _opened(features: Features, data: Any, at: int, source: str) -> None:
    _act(features, at, source)
    received = second_of(data.received_at) if data.received_at else at
    _open(features, data.complaint_id, received, source, data.case_type in ("complaint", "dispute"))


def _facts_added(features: Features, data: Any, at: int, source: str) -> None:
    _act(features, at, source)


def _open(features: Features, case: str, since: int, source: str, complaint: bool) -> None:
    cases = features.get("cases", {})
    cases[case] = {"at": since, "source": source, "complaint": complaint}
    features["cases"] = dict(sorted(cases.items(), key=lambda one: (one[1]["at"], one[0]))[-OPEN_CASES:])


def _clock_set(features: Features, data: Any, at: int, source: str) -> None:
    case = features.get("cases", {}).get(data.complaint_id)
    if case is not None:
        set_deadline(case, data.clock, data.preset, None if data.due_at is None else second_of(data.due_at), at)


def _left(features: Features, data: Any, at: int, source: str) -> None:
    """The case is open no longer; remember if a deadline was missed."""
    case = features.get("cases", {}).pop(data.complaint_id, None)
    if case is not None and any(not one.is_met for one in verdicts(case, at)):
        _keep(features, "late", [at, source], REOPENS)


def _resolved(features: Features, data: Any, at: int, source: str) -> None:
    _left(features, data, at, source)
    if data.outcome == "rejected" and features.get("rejected", [at])[0] <= at:
        features["rejected"] = [at, source]


def _reopened(features: Features, data: Any, at: int, source: str) -> None:
    # Whatever it was at first, a case that comes back is a complaint that starts now.
    _act(features, at, source)
    _open(features, data.complaint_id, at, source, True)
    _keep(features, "reopened", [at, source], REOPENS)


def _scored(features: Features, data: Any, at: int, source: str) -> None:
    _see(features, at, source)
    metric = data.metric
    if metric in ("csat", "nps") and features.get(metric, [at])[0] <= at:
        features[metric] = [at, data.score, data.scale, source]


def _posted(features: Features, data: Any, at: int, source: str) -> None:
    kind, minor = data.kind, data.amount.minor
    if kind in ("card", "cash") or (minor < 0 and kind in ("transfer", "other")):
        _act(features, at, source)
    else:
        _see(features, at, source)
    # A posting for a later day counts from now on: a window never has to wait for a day to come.
    day = min(data.booked_on.toordinal() - EPOCH, at // DAY)
    _count(features, "posted", day)
    _keep(features, "posted_sources", source, KEPT.sources)
    moved = data.amount.currency
    if features.setdefault("moved", moved) != moved:
        minor = 0
    _add_up(features, day // KEPT.grain, abs(minor))
    if kind == "salary" and minor > 0:
        days = features.get("salaries", [])
        if day not in days:
            features["salaries"] = sorted([*days, day])[-KEPT.salaries :]
            if features["salaries"][-1] == day:
                features["salary_source"] = source
    if data.balance is not None:
        _balance_known(features, data, at, source)


def _add_up(features: Features, period: int, amount: int) -> None:
    """One more transaction of this amount in a grain of days. Amounts add up in the currency of the first."""
    series = features.get("year")
    if series is None:
        series = features["year"] = [[], [], []]
    periods, counts, amounts = series
    if periods and period == periods[-1]:
        index = -1
    else:
        index = bisect_left(periods, period)
        if index == len(periods) or periods[index] != period:
            periods.insert(index, period)
            counts.insert(index, 0)
            amounts.insert(index, 0)
    counts[index] += 1
    amounts[index] += amount


def _balance_known(features: Features, data: Any, at: int, source: str) -> None:
    """Keep the last balance of each grain of days. One that arrives late says nothing of today and is left out."""
    account, balance, period = data.account_id, data.balance, at // DAY // KEPT.grain
    balances = features.get("balances")
    if balances is None:
        balances = features["balances"] = {}
    known = balances.get(account)
    if known is None:
        if len(balances) < ACCOUNTS:
            known = balances[account] = {
                "currency": balance.currency,
                "periods": [period],
                "minor": [balance.minor],
                "at": at,
                "source": source,
            }
            _limit_known(known, data)
    elif at >= known["at"]:
        periods, minor = known["periods"], known["minor"]
        if periods[-1] == period:
            minor[-1] = balance.minor
        else:
            periods.append(period)
            minor.append(balance.minor)
            if len(periods) > KEPT.balances:
                del periods[0], minor[0]
        known["currency"], known["at"], known["source"] = balance.currency, at, source
        _limit_known(known, data)
    features.setdefault("currency", balance.currency)


def _limit_known(known: dict[str, Any], data: Any) -> None:
    """Keep the credit limit that came with the balance, in its currency; no limit is told by none at all."""
    limit = data.credit_limit
    if limit is not None and limit.currency == data.balance.currency:
        known["limit"] = limit.minor


def _reversed(features: Features, data: Any, at: int, source: str) -> None:
    """Take the posting back where it was counted: on the day it was booked, or just before it.

    The event does not tell the amount, so that one stays, unless nothing else was posted in the period.
    """
    booked = day_of(data.booked_on)
    _take_back(features, "posted", booked, booked - 1)
    _take_back(features, "year", booked // KEPT.grain, (booked - 1) // KEPT.grain)


def _take_back(features: Features, name: str, latest: int, earliest: int) -> None:
    series = features.get(name)
    if series is None:
        return
    index = bisect_right(series[0], latest) - 1
    if index < 0 or series[0][index] < earliest:
        return
    series[1][index] -= 1
    if not series[1][index]:
        for column in series:
            del column[index]


STEPS: dict[str, Callable[[Features, Any, int, str], None]] = {
    "customer.registered": _registered,
    "customer.profile-changed": _profile_changed,
    "customer.manager-assigned": _nothing,
    "customer.closed": _closed,
    "contact.queued": _contacted,
    "complaint.opened": _opened,
    "complaint.facts-added": _facts_added,
    "complaint.clock-set": _clock_set,
    "complaint.resolved": _resolved,
    "complaint.withdrawn": _left,
    "complaint.closed": _left,
    "complaint.reopened": _reopened,
    "survey.scored": _scored,
    "transaction.posted": _posted,
    "transaction.reversed": _reversed,
}


def take(features: Features, event: Recorded) -> None:
    """Take one event into the features of its customer."""
    meta = event.meta
    at, last = second_of(meta.occurred_at), features.get("at")
    if last is None or at > last:
        features["at"] = at
    STEPS[event.name](features, event.event, at, identity(meta))
