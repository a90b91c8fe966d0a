"""Service queues: what waits in which queue, since when and until when, and what came in and went out each day.

Contacts leave the table when they end. Cases stay, marked closed, because a case that is reopened comes back with its
history. Ages, overdue flags and risks depend on the time of asking and are computed then, not stored.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from domain.values import Recorded, dimensions
from projections.declare import Key, Projection, Row, Rows, Table
from projections.measures import nearest_rank

ANSWER_SECONDS = 20
"""Service level 80/20: the share of contacts answered within this many seconds."""

AT_RISK = 0.75
"""A case whose deadline is still to come is at risk from this share of its time on."""
WEEK = 7
MONTH = 28

ITEMS = Table(
    name="queue_items",
    key={"item_id": "text"},
    columns={
        "kind": "text",
        "queue": "text",
        "status": "text",
        "open": "boolean",
        "customer_id": "text",
        "channel": "text",
        "owner": "text",
        "priority": "smallint",
        "regime": "text",
        "opened_at": "timestamptz",
        "waiting_since": "timestamptz",
        "started_at": "timestamptz",
        "statutory_from": "timestamptz",
        "statutory_due": "timestamptz",
        "service_from": "timestamptz",
        "service_due": "timestamptz",
        "reopened": "smallint",
        "branch": "text",
        "product": "text",
        "segment": "text",
        "project_id": "text",
    },
    indexes=(("open", "queue"), ("customer_id",)),
)
"""One contact or case under its stream name. Status of a contact: waiting, talking. Of a case: open, acknowledged,
assigned, waiting, escalated, resolved, withdrawn, closed. A due time is null while that clock is stopped or unknown.
"""

FLOW = Table(
    name="queue_flow",
    key={"queue": "text", "kind": "text", "day": "date"},
    columns=dict.fromkeys(
        ("inflow", "outflow", "reopened", "abandoned", "answered", "answered_in_time", "handled", "resolved"), "integer"
    )
    | dict.fromkeys(("wait_seconds", "talk_seconds", "hold_seconds", "wrap_up_seconds"), "bigint"),
    summed=True,
)
"""Counters of one queue and day (UTC). `talk_seconds` runs from the answer to the end and includes `hold_seconds`."""

NEW_ITEM: Row = dict.fromkeys(ITEMS.columns)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _seconds(start: datetime, end: datetime) -> int:
    """Whole seconds from start to end; 0 when the channels' clocks disagree."""
    return max(0, int((end - start).total_seconds()))


def _count(rows: Rows, queue: str, kind: str, at: datetime, **counts: int) -> None:
    rows.add(FLOW, (queue, kind, _day(at)), **counts)


def _put(rows: Rows, event: Recorded, item: Row, **changed: Any) -> None:
    """The item of the event, changed."""
    item.update(changed)
    rows.put(ITEMS, (event.originator_id,), item)


def _move(rows: Rows, item: Row, queue: str | None, at: datetime, **left: int) -> str:
    """Count that an open item goes to another queue, and what its old queue did with it; returns its queue now."""
    old: str = item["queue"]
    if queue is None or queue == old:
        if left:
            _count(rows, old, item["kind"], at, **left)
        return old
    _count(rows, old, item["kind"], at, outflow=1, **left)
    _count(rows, queue, item["kind"], at, inflow=1)
    return queue


# --- contacts ---


def _queued(rows: Rows, event: Recorded) -> None:
    queued: Any = event.event
    at = event.meta.occurred_at
    item = {
        **NEW_ITEM,
        "kind": "contact",
        "queue": queued.queue,
        "status": "waiting",
        "open": True,
        "customer_id": event.meta.customer_id,
        "channel": queued.channel,
        "priority": queued.priority,
        "opened_at": at,
        "waiting_since": at,
        "reopened": 0,
        **dimensions(queued),
    }
    rows.put(ITEMS, (event.originator_id,), item)
    _count(rows, queued.queue, "contact", at, inflow=1)


def _started(rows: Rows, event: Recorded, item: Row) -> None:
    started: Any = event.event
    at = event.meta.occurred_at
    if item["status"] == "talking":  # another agent joins; the customer waits no more
        _put(rows, event, item, owner=started.agent_id)
        return
    wait = _seconds(item["waiting_since"], at)
    in_time = int(wait <= ANSWER_SECONDS)
    _count(rows, item["queue"], "contact", at, answered=1, answered_in_time=in_time, wait_seconds=wait)
    _put(rows, event, item, status="talking", owner=started.agent_id, started_at=at)


def _handled(item: Row, at: datetime) -> dict[str, int]:
    """What an agent's part of the conversation adds to its queue."""
    if item["started_at"] is None:
        return {}
    return {"handled": 1, "talk_seconds": _seconds(item["started_at"], at)}


def _transferred(rows: Rows, event: Recorded, item: Row) -> None:
    transferred: Any = event.event
    at = event.meta.occurred_at
    queue = _move(rows, item, transferred.to_queue, at, **_handled(item, at))
    if transferred.to_agent:
        _put(rows, event, item, queue=queue, status="talking", owner=transferred.to_agent, started_at=at)
    else:
        _put(rows, event, item, queue=queue, status="waiting", owner=None, started_at=None, waiting_since=at)


def _ended(rows: Rows, event: Recorded, item: Row) -> None:
    ended: Any = event.event
    at = event.meta.occurred_at
    _count(
        rows,
        item["queue"],
        "contact",
        at,
        outflow=1,
        resolved=int(ended.resolved),
        hold_seconds=ended.hold_seconds,
        wrap_up_seconds=ended.wrap_up_seconds,
        **_handled(item, at),
    )
    rows.drop(ITEMS, (event.originator_id,))


def _abandoned(rows: Rows, event: Recorded, item: Row) -> None:
    _count(rows, item["queue"], "contact", event.meta.occurred_at, outflow=1, abandoned=1)
    rows.drop(ITEMS, (event.originator_id,))


# --- cases ---


def _opened(rows: Rows, event: Recorded) -> None:
    opened: Any = event.event
    at = event.meta.occurred_at
    received = opened.received_at or at
    item = {
        **NEW_ITEM,
        "kind": "case",
        "queue": opened.queue,
        "status": "open",
        "open": True,
        "customer_id": event.meta.customer_id,
        "channel": opened.channel,
        "priority": opened.severity,
        "regime": opened.regime,
        "opened_at": received,
        "waiting_since": at,
        "reopened": 0,
        **dimensions(opened),
    }
    rows.put(ITEMS, (event.originator_id,), item)
    _count(rows, opened.queue, "case", at, inflow=1)


def _acknowledged(rows: Rows, event: Recorded, item: Row) -> None:
    if item["status"] == "open":  # what was done since says more
        _put(rows, event, item, status="acknowledged")


def _waiting(rows: Rows, event: Recorded, item: Row) -> None:
    _put(rows, event, item, status="waiting")


def _while_open(item: Row, status: str) -> str:
    """A case that waits for somebody outside goes on waiting, whoever gets it."""
    return "waiting" if item["status"] == "waiting" else status


def _assigned(rows: Rows, event: Recorded, item: Row) -> None:
    assigned: Any = event.event
    queue = _move(rows, item, assigned.queue, event.meta.occurred_at)
    _put(rows, event, item, status=_while_open(item, "assigned"), queue=queue, owner=assigned.owner)


def _escalated(rows: Rows, event: Recorded, item: Row) -> None:
    escalated: Any = event.event
    queue = _move(rows, item, escalated.to_queue, event.meta.occurred_at)
    _put(rows, event, item, status=_while_open(item, "escalated"), queue=queue)


def _resumed(rows: Rows, event: Recorded, item: Row) -> None:
    _put(rows, event, item, status="assigned" if item["owner"] else "open")


def _clock_set(rows: Rows, event: Recorded, item: Row) -> None:
    clock: Any = event.event
    _put(rows, event, item, **{f"{clock.clock}_from": clock.starts_at, f"{clock.clock}_due": clock.due_at})


def _leaves(status: str) -> Callable[[Rows, Recorded, Row], None]:
    """The work is done: a final response, a withdrawal, or closing without either. Only the first is an outflow."""

    def step(rows: Rows, event: Recorded, item: Row) -> None:
        if item["open"]:
            _count(rows, item["queue"], "case", event.meta.occurred_at, outflow=1)
        _put(rows, event, item, status=status, open=False)

    return step


def _reopened(rows: Rows, event: Recorded, item: Row) -> None:
    at = event.meta.occurred_at
    back = 0 if item["open"] else 1
    _count(rows, item["queue"], "case", at, inflow=back, reopened=1)
    status = "assigned" if item["owner"] else "open"
    _put(rows, event, item, status=status, open=True, waiting_since=at, reopened=item["reopened"] + 1)


ARRIVALS: dict[str, Callable[[Rows, Recorded], None]] = {"contact.queued": _queued, "complaint.opened": _opened}
STEPS: dict[str, Callable[[Rows, Recorded, Row], None]] = {
    "contact.started": _started,
    "contact.transferred": _transferred,
    "contact.ended": _ended,
    "contact.abandoned": _abandoned,
    "complaint.acknowledged": _acknowledged,
    "complaint.assigned": _assigned,
    "complaint.waiting": _waiting,
    "complaint.resumed": _resumed,
    "complaint.escalated": _escalated,
    "complaint.resolved": _leaves("resolved"),
    "complaint.reopened": _reopened,
    "complaint.withdrawn": _leaves("withdrawn"),
    "complaint.closed": _leaves("closed"),
    "complaint.clock-set": _clock_set,
}


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The item."""
    return ((ITEMS, (event.originator_id,)),)


def fold(rows: Rows, event: Recorded) -> None:
    """Move one item. An event of a contact that has ended changes nothing."""
    if arrive := ARRIVALS.get(event.name):
        arrive(rows, event)
    elif item := rows.get(ITEMS, (event.originator_id,)):
        STEPS[event.name](rows, event, item)


SERVICE_QUEUES = Projection(
    name="service_queues",
    version=1,
    tables=(ITEMS, FLOW),
    handles=frozenset(ARRIVALS) | frozenset(STEPS),
    keys=keys,
    fold=fold,
)


# --- reading ---


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
    today = _day(now)
    flows: dict[tuple[str, str], list[Row]] = {}
    for row in flow:
        if today - timedelta(days=MONTH) < row["day"] <= today:
            flows.setdefault((row["queue"], row["kind"]), []).append(row)
    known = {(one.queue, one.kind): one for one in standings}
    keys = sorted({*known, *flows})
    return tuple(_summary(known.get(key) or Standing(*key, 0, 0), flows.get(key, []), today) for key in keys)


def _standing(queue: str, kind: str, items: list[Row], now: datetime) -> Standing:
    ages = Counter(_seconds(item["opened_at"], now) for item in items)
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
        at_risk=sum(_at_risk(item, now) for item in items),
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


def _next(items: list[Row], due: str, now: datetime) -> datetime | None:
    """The next deadline that is not over yet."""
    return min((item[due] for item in items if item[due] is not None and item[due] >= now), default=None)


def _overdue(items: list[Row], due: str, now: datetime) -> int:
    return sum(item[due] is not None and item[due] < now for item in items)


def _at_risk(item: Row, now: datetime) -> bool:
    clocks = [(item[f"{clock}_due"], item[f"{clock}_from"]) for clock in ("statutory", "service")]
    running = sorted((due, start) for due, start in clocks if due is not None)
    if not running or running[0][0] < now:
        return False
    due, start = running[0]
    return bool(now - start >= AT_RISK * (due - start))
