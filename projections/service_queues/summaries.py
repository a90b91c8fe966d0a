"""Queues as they are asked for: what is open, how old and how urgent at a moment, and what came and went.

A summary is of one queue, or of one branch, owner, priority, case type, product, segment or project, and of contacts or
cases. Shares are of sums, never means of shares.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from domain.clocks import CALENDARS
from projections.declare import Row
from projections.measures.first_contact import FIRST_CONTACT
from projections.measures.times import day_of
from projections.service_queues.ages import business_ages, calendar_ages, ranked
from projections.service_queues.rules import RULES, WINDOWS
from projections.service_queues.tables import FLOW


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open at a moment in one group. Ages are seconds since the contact was queued or the case was received,
    percentiles are nearest-rank; business time is by the calendar of the rules of queues.
    """

    group: str
    """The queue, or the value of the dimension that was asked for; '' where an item has none."""
    kind: str
    open: int = 0
    waiting: int = 0
    """Contacts that no agent has answered, or cases that wait for somebody outside."""
    age_p50: int | None = None
    age_p90: int | None = None
    age_max: int | None = None
    business_p50: int | None = None
    business_p90: int | None = None
    business_max: int | None = None
    next_statutory_due: datetime | None = None
    next_service_due: datetime | None = None
    overdue_statutory: int = 0
    overdue_service: int = 0
    at_risk: int = 0
    """Not overdue, but three quarters of the time to the earlier deadline are gone."""


@dataclass(frozen=True, slots=True)
class QueueSummary(Standing):
    """The same with what came and went: today (UTC), and in the days of the rules up to now.

    That are 7 and 28 in the version that the names are of; a test compares the two.
    """

    inflow_today: int = 0
    outflow_today: int = 0
    inflow_7d: int = 0
    outflow_7d: int = 0
    net_7d: int = 0
    """Inflow less outflow: by so many the backlog grew."""
    abandoned_7d: int = 0
    reopened_7d: int = 0
    service_level: float | None = None
    """Share of the contacts of 7 days answered or abandoned that were answered within the time of the rules, 0..1."""
    abandonment: float | None = None
    """Share of the same that were abandoned, 0..1."""
    speed_of_answer: float | None = None
    """Mean wait of the answered of 7 days, seconds (ASA)."""
    handling_time: float | None = None
    """Talk, hold and wrap-up per handled contact of 7 days, seconds (AHT)."""
    days_of_work: float | None = None
    """Open items at the mean daily outflow of 28 days; None when nothing went out."""
    reopen_rate: float | None = None
    """Reopened per case of 28 days that got its final response or was withdrawn."""
    first_contact: float | None = None
    """Share of the handled contacts of 28 days that solved it, with nothing new about the same since. Provisional."""
    first_contact_final: float | None = None
    """The same of the 28 days whose figures cannot change any more."""
    in_time_statutory: float | None = None
    """Share of the final responses of 28 days that were in time by law, 0..1."""
    in_time_service: float | None = None
    """The same by the service clock."""


def summarise_queues(
    items: Iterable[Row], flow: Iterable[Row], now: datetime, by: str = "queue"
) -> tuple[QueueSummary, ...]:
    """Rows of `queue_items`, and of `queue_flow` or `queue_cells`, as one line per group and kind, in that order.

    Of the flow only the days that a figure looks at count.
    """
    return with_flow(standings(items, now, by), flow, now, by)


def standings(items: Iterable[Row], now: datetime, by: str = "queue") -> tuple[Standing, ...]:
    """The open ones of `queue_items` as one line per group and kind."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for item in items:
        if item["open"]:
            group = "" if item[by] is None else str(item[by])
            groups.setdefault((group, item["kind"]), []).append(item)
    counted = [
        {
            "group": group,
            "kind": kind,
            "open": len(members),
            "waiting": sum(item["status"] == "waiting" for item in members),
            "opened": ranked(item["opened_at"] for item in members),
            "next_statutory_due": _next(members, "statutory_due", now),
            "next_service_due": _next(members, "service_due", now),
            "overdue_statutory": _overdue(members, "statutory_due", now),
            "overdue_service": _overdue(members, "service_due", now),
            "at_risk": sum(is_at_risk(item, now) for item in members),
        }
        for (group, kind), members in groups.items()
    ]
    return with_ages(counted, now)


def with_ages(counted: Iterable[Mapping[str, Any]], now: datetime) -> tuple[Standing, ...]:
    """Lines whose `opened` says since when the items are open that the ages are of."""
    lines = list(counted)
    every = [moment for line in lines for moment in line["opened"]]
    business = iter(business_ages(CALENDARS[RULES.at(now).calendar], every, now))
    calendar = iter(calendar_ages(every, now))

    def standing(line: Mapping[str, Any]) -> Standing:
        said: dict[str, Any] = {name: value for name, value in line.items() if name != "opened"}
        for name, _ in zip(("p50", "p90", "max"), line["opened"], strict=False):
            said[f"age_{name}"], said[f"business_{name}"] = next(calendar), next(business)
        return Standing(**said)

    return tuple(map(standing, lines))


def first_day(now: datetime) -> date:
    """The first day whose flow a summary looks at."""
    return day_of(now) - timedelta(days=WINDOWS.at(now).long_days + FIRST_CONTACT.at(now).days)


def with_flow(
    standings: Iterable[Standing], flow: Iterable[Row], now: datetime, by: str = "queue"
) -> tuple[QueueSummary, ...]:
    """One line per group and kind, in that order, of what is open and of the flow up to `now`."""
    today, first = day_of(now), first_day(now)
    flows: dict[tuple[str, str], list[Row]] = {}
    for row in flow:
        if first < row["day"] <= today:
            flows.setdefault((row[by], row["kind"]), []).append(row)
    known = {(one.group, one.kind): one for one in standings}
    keys = sorted({*known, *flows})
    return tuple(_summary(known.get(key) or Standing(*key), flows.get(key, []), now) for key in keys)


def _summary(standing: Standing, flow: list[Row], now: datetime) -> QueueSummary:
    today, windows = day_of(now), WINDOWS.at(now)
    long = timedelta(days=windows.long_days)
    day = _added(row for row in flow if row["day"] == today)
    week = _added(row for row in flow if row["day"] > today - timedelta(days=windows.short_days))
    month = _added(row for row in flow if row["day"] > today - long)
    settled = today - timedelta(days=FIRST_CONTACT.at(now).days)
    final = _added(row for row in flow if settled - long < row["day"] <= settled)
    offered = week["answered"] + week["abandoned"]
    return QueueSummary(
        **{name: getattr(standing, name) for name in Standing.__slots__},
        inflow_today=day["inflow"],
        outflow_today=day["outflow"],
        inflow_7d=week["inflow"],
        outflow_7d=week["outflow"],
        net_7d=week["inflow"] - week["outflow"],
        abandoned_7d=week["abandoned"],
        reopened_7d=week["reopened"],
        service_level=_share(week["answered_in_time"], offered),
        abandonment=_share(week["abandoned"], offered),
        speed_of_answer=_share(week["wait_seconds"], week["answered"]),
        handling_time=_share(week["talk_seconds"] + week["wrap_up_seconds"], week["handled"]),
        days_of_work=_share(standing.open * windows.long_days, month["outflow"]),
        reopen_rate=_share(month["reopened"], month["finished"]) if standing.kind == "case" else None,
        first_contact=_share(month["first_contact"], month["handled"]),
        first_contact_final=_share(final["first_contact"], final["handled"]),
        in_time_statutory=_share(month["met_statutory"], month["met_statutory"] + month["missed_statutory"]),
        in_time_service=_share(month["met_service"], month["met_service"] + month["missed_service"]),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _added(flow: Iterable[Row]) -> dict[str, int]:
    total = dict.fromkeys(FLOW.columns, 0)
    for row in flow:
        for name in total:
            total[name] += row[name]
    return total


def is_overdue(due: datetime | None, now: datetime) -> bool:
    """Whether a deadline is over."""
    return due is not None and due < now


def is_at_risk(item: Row, now: datetime) -> bool:
    """Whether an open item is not overdue, and three quarters of the time to the earlier deadline are gone."""
    return bool(item["due"] is not None and item["at_risk_at"] <= now <= item["due"])


def _next(items: list[Row], due: str, now: datetime) -> datetime | None:
    """The next deadline that is not over yet."""
    return min((item[due] for item in items if item[due] is not None and item[due] >= now), default=None)


def _overdue(items: list[Row], due: str, now: datetime) -> int:
    return sum(is_overdue(item[due], now) for item in items)
