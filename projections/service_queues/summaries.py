"""Queues as they are asked for: what is open, how old and how urgent at a moment, and what came and went."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

from projections.declare import Row
from projections.measures.ranks import nearest_rank
from projections.service_queues.tables import FLOW, day_of, seconds_between

WEEK = 7
MONTH = 28


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """One queue as it stands at a moment. Ages are calendar time in seconds since the contact was queued or the case
    was received; percentiles are nearest-rank. Level, speed and handling time are of the last seven days.
    """

    queue: str
    kind: str
    open: int
    waiting: int
    """Contacts that no agent has answered, or cases that wait for somebody outside."""
    age_p50: int | None
    age_p90: int | None
    age_max: int | None
    next_statutory_due: datetime | None
    next_service_due: datetime | None
    overdue_statutory: int
    overdue_service: int
    at_risk: int
    """Not overdue, but three quarters of the time to the earlier deadline are gone."""
    inflow_today: int
    outflow_today: int
    inflow_7d: int
    outflow_7d: int
    abandoned_7d: int
    reopened_7d: int
    service_level: float | None
    """Share of the contacts answered or abandoned that were answered within 20 seconds, 0..1."""
    speed_of_answer: float | None
    """Mean wait of the answered, seconds (ASA)."""
    handling_time: float | None
    """Talk, hold and wrap-up per handled contact, seconds (AHT)."""
    days_of_work: float | None
    """Open items at the mean daily outflow of the last 28 days; None when nothing went out."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open in one queue at a moment; the first part of its summary, with the same meanings."""

    queue: str
    kind: str
    open: int
    waiting: int
    age_p50: int | None = None
    age_p90: int | None = None
    age_max: int | None = None
    next_statutory_due: datetime | None = None
    next_service_due: datetime | None = None
    overdue_statutory: int = 0
    overdue_service: int = 0
    at_risk: int = 0


def summarise_queues(items: Iterable[Row], flow: Iterable[Row], now: datetime) -> tuple[QueueSummary, ...]:
    """Rows of `queue_items` and `queue_flow` (with key columns) as one line per queue and kind, in that order.

    Of the flow only the 28 days up to `now` count.
    """
    return with_flow(standings(items, now), flow, now)


def standings(items: Iterable[Row], now: datetime) -> tuple[Standing, ...]:
    """The open ones of `queue_items` as one line per queue and kind."""
    queues: dict[tuple[str, str], list[Row]] = {}
    for item in items:
        if item["open"]:
            queues.setdefault((item["queue"], item["kind"]), []).append(item)
    return tuple(_standing(*key, items, now) for key, items in queues.items())


def with_flow(standings: Iterable[Standing], flow: Iterable[Row], now: datetime) -> tuple[QueueSummary, ...]:
    """One line per queue and kind, in that order, of what is open and of the flow of the 28 days up to `now`."""
    today = day_of(now)
    flows: dict[tuple[str, str], list[Row]] = {}
    for row in flow:
        if today - timedelta(days=MONTH) < row["day"] <= today:
            flows.setdefault((row["queue"], row["kind"]), []).append(row)
    known = {(one.queue, one.kind): one for one in standings}
    keys = sorted({*known, *flows})
    return tuple(_summary(known.get(key) or Standing(*key, 0, 0), flows.get(key, []), today) for key in keys)


def _standing(queue: str, kind: str, items: list[Row], now: datetime) -> Standing:
    ages = Counter(seconds_between(item["opened_at"], now) for item in items)
    return Standing(
        queue=queue,
        kind=kind,
        open=len(items),
        waiting=sum(item["status"] == "waiting" for item in items),
        age_p50=nearest_rank(ages, 0.5),
        age_p90=nearest_rank(ages, 0.9),
        age_max=max(ages),
        next_statutory_due=_next(items, "statutory_due", now),
        next_service_due=_next(items, "service_due", now),
        overdue_statutory=_overdue(items, "statutory_due", now),
        overdue_service=_overdue(items, "service_due", now),
        at_risk=sum(is_at_risk(item, now) for item in items),
    )


def _summary(standing: Standing, flow: list[Row], today: date) -> QueueSummary:
    day = _added([row for row in flow if row["day"] == today])
    week = _added([row for row in flow if row["day"] > today - timedelta(days=WEEK)])
    offered, handled = week["answered"] + week["abandoned"], week["handled"]
    month_out = _added(flow)["outflow"]
    return QueueSummary(
        **asdict(standing),
        inflow_today=day["inflow"],
        outflow_today=day["outflow"],
        inflow_7d=week["inflow"],
        outflow_7d=week["outflow"],
        abandoned_7d=week["abandoned"],
        reopened_7d=week["reopened"],
        service_level=week["answered_in_time"] / offered if offered else None,
        speed_of_answer=week["wait_seconds"] / week["answered"] if week["answered"] else None,
        handling_time=(week["talk_seconds"] + week["wrap_up_seconds"]) / handled if handled else None,
        days_of_work=standing.open * MONTH / month_out if month_out else None,
    )


def _added(flow: list[Row]) -> dict[str, int]:
    return {name: sum(row[name] for row in flow) for name in FLOW.columns}


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
