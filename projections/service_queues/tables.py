"""What is kept of the queues: one row for each contact or case, and counters of what came and went each day."""

from datetime import UTC, date, datetime
from typing import Any

from domain.values import Recorded, dimensions
from projections.declare import Index, Row, Rows, Table

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
        "due": "timestamptz",
        "at_risk_at": "timestamptz",
        "reopened": "smallint",
        "branch": "text",
        "product": "text",
        "segment": "text",
        "project_id": "text",
    },
    indexes=(
        # A queue is counted, and its most urgent cases are found, without reading the rows.
        Index(
            ("queue", "kind", "due", "at_risk_at"),
            include=("status", "opened_at", "statutory_due", "service_due"),
            only="open",
        ),
        Index(("kind", "due", "at_risk_at"), only="open"),
        Index(("customer_id",)),
    ),
    clear_after=1000,
    followed=True,
)
"""One contact or case under its stream name. Status of a contact: waiting, talking. Of a case: open, acknowledged,
assigned, waiting, escalated, resolved, withdrawn, closed. A due time is null while that clock is stopped or unknown.
`due` is the earlier of the two, and at `at_risk_at` three quarters of the time to it are gone.
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

_NEW_ITEM: Row = dict.fromkeys(ITEMS.columns)


def day_of(moment: datetime) -> date:
    """The day that a moment counts in."""
    return moment.astimezone(UTC).date()


def seconds_between(start: datetime, end: datetime) -> int:
    """Whole seconds from start to end; 0 when the channels' clocks disagree."""
    return max(0, int((end - start).total_seconds()))


def count(rows: Rows, queue: str, kind: str, at: datetime, **counts: int) -> None:
    """Add to the counters of a queue and day."""
    rows.add(FLOW, (queue, kind, day_of(at)), **counts)


def enter(rows: Rows, event: Recorded, kind: str, **more: Any) -> None:
    """A contact or case comes into the queue that its first event names; `more` are columns that the two differ in."""
    entered: Any = event.event
    at = event.meta.occurred_at
    item = {
        **_NEW_ITEM,
        "kind": kind,
        "queue": entered.queue,
        "open": True,
        "customer_id": event.meta.customer_id,
        "channel": entered.channel,
        "opened_at": at,
        "waiting_since": at,
        "reopened": 0,
        **dimensions(entered),
        **more,
    }
    rows.put(ITEMS, (event.originator_id,), item)
    count(rows, entered.queue, kind, at, inflow=1)


def put(rows: Rows, event: Recorded, item: Row, **changed: Any) -> None:
    """Change the item of an event."""
    item.update(changed)
    rows.put(ITEMS, (event.originator_id,), item)


def move(rows: Rows, item: Row, queue: str | None, at: datetime, **left: int) -> str:
    """Count that an open item goes to another queue, and what its old queue did with it; returns its queue now."""
    old: str = item["queue"]
    if queue is None or queue == old:
        if left:
            count(rows, old, item["kind"], at, **left)
        return old
    count(rows, old, item["kind"], at, outflow=1, **left)
    count(rows, queue, item["kind"], at, inflow=1)
    return queue
