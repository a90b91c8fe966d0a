"""What is kept of the queues: one row for each contact or case, and counters of what came and went each day."""

from datetime import datetime
from typing import Any

from domain.values import Recorded, dimensions
from projections.declare import Index, Key, Row, Rows, Table
from projections.measures.times import day_of

ITEMS = Table(
    name="queue_items",
    key={"item_id": "text"},
    columns={
        "kind": "text",
        "queue": "text",
        "status": "text",
        "case_type": "text",
        "open": "boolean",
        "customer_id": "text",
        "channel": "text",
        "topic": "text",
        "again": "boolean",
        "owner": "text",
        "priority": "smallint",
        "regime": "text",
        "opened_at": "timestamptz",
        "waiting_since": "timestamptz",
        "started_at": "timestamptz",
        "statutory_from": "timestamptz",
        "statutory_due": "timestamptz",
        "statutory_at_risk_at": "timestamptz",
        "statutory_missed": "text",
        "service_preset": "text",
        "service_from": "timestamptz",
        "service_due": "timestamptz",
        "service_at_risk_at": "timestamptz",
        "service_missed": "text",
        "late": "jsonb",
        "pauses": "jsonb",
        "due": "timestamptz",
        "at_risk_at": "timestamptz",
        "reopened": "smallint",
        "resolved_at": "timestamptz",
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
"""One contact or case under its stream name.

Status of a contact: waiting, talking; `again` when the customer had another one about its topic shortly before. Of a
case: open, acknowledged, assigned, waiting, escalated, resolved, withdrawn, closed. `regime` is the preset of the
statutory clock. A due time is null while that clock is stopped or unknown; from `…_at_risk_at` on the share of the
rules is gone of the time that it counts; `…_missed` is the preset under which a deadline was missed since the case was
opened or reopened. `due` is the earlier deadline, `at_risk_at` the earlier of those moments. `late` has for each clock
with a row in `MISSED` preset, version and deadline. `pauses` are [from, to, reason].
"""

MISSED = Table(
    name="deadline_alerts",
    key={"case_id": "text", "clock": "text"},
    columns={
        "preset": "text",
        "preset_version": "integer",
        "due_at": "timestamptz",
        **{name: ITEMS.columns[name] for name in ("customer_id", "status", "case_type", "queue", "owner", "priority")},
        **{name: ITEMS.columns[name] for name in ("opened_at", "branch", "product", "segment", "project_id")},
    },
    followed=True,
)
"""The first deadline that a clock of an open case has missed since the case was opened or reopened. It was missed at
`due_at`.
"""

COUNTERS = (
    *("inflow", "outflow", "finished", "reopened", "abandoned", "answered", "answered_in_time", "handled", "resolved"),
    *("first_contact", "met_statutory", "missed_statutory", "met_service", "missed_service"),
)
SECONDS = ("wait_seconds", "talk_seconds", "hold_seconds", "wrap_up_seconds")

FLOW = Table(
    name="queue_flow",
    key={"queue": "text", "kind": "text", "day": "date"},
    columns=dict.fromkeys(COUNTERS, "integer") | dict.fromkeys(SECONDS, "bigint"),
    summed=True,
)
"""Counters of one queue and day (UTC). `talk_seconds` runs from the answer to the end and includes `hold_seconds`.
`finished` are cases that got their final response or were withdrawn that day, `met_` and `missed_` the deadlines of
those that got it; a case that only went to another queue is an outflow, and not finished.
"""

DIMENSIONS = ("queue", "branch", "owner", "priority", "case_type", "product", "segment", "project_id")
"""What queues can be looked at by."""

CELLS = Table(
    name="queue_cells",
    key={"day": "date", "kind": "text", **dict.fromkeys(DIMENSIONS, "text")},
    columns=FLOW.columns,
    summed=True,
)
"""The same counters for each combination of dimensions; an absent one is ''. The owner is the one of that moment."""

DURATIONS = Table(
    name="queue_durations",
    key={"queue": "text", "case_type": "text", "hours": "integer"},
    columns={"finished": "integer"},
    summed=True,
)
"""How many cases took so long from their receipt to their first final response, in hours as `rounded` gives them."""

FIRST = Table(name="queue_first_contacts", key={"customer_id": "text"}, columns={"contacts": "jsonb"})
"""A customer's last contacts by topic (see `projections.measures.first_contact`), with the cell that they count in."""

_NEW_ITEM: Row = dict.fromkeys(ITEMS.columns)


def cell_of(item: Row, at: datetime) -> Key:
    """The cell that something about an item counts in."""
    priority = item["priority"]
    return (
        day_of(at),
        item["kind"],
        item["queue"],
        item["branch"] or "",
        item["owner"] or "",
        "" if priority is None else str(priority),
        item["case_type"] or "",
        item["product"] or "",
        item["segment"] or "",
        item["project_id"] or "",
    )


def count_in(rows: Rows, cell: Key, **counts: int) -> None:
    """Add to the counters of a cell, and of its queue and day."""
    rows.add(CELLS, cell, **counts)
    rows.add(FLOW, (cell[2], cell[1], cell[0]), **counts)


def count(rows: Rows, item: Row, at: datetime, **counts: int) -> None:
    """Add to the counters of an item's cell, and of its queue and day."""
    count_in(rows, cell_of(item, at), **counts)


def rounded(hours: int) -> int:
    """Whole hours for three days, then whole days, so that a histogram stays small; monotone."""
    return hours if hours < 72 else hours // 24 * 24


def enter(rows: Rows, event: Recorded, kind: str, **more: Any) -> None:
    """A contact or case comes into the queue that its first event names; `more` are columns that the two differ in."""
    entered: Any = event.event
    at = event.meta.occurred_at
    item: Row = {
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
    count(rows, item, at, inflow=1)


def put(rows: Rows, event: Recorded, item: Row, **changed: Any) -> None:
    """Change the item of an event."""
    item.update(changed)
    rows.put(ITEMS, (event.originator_id,), item)


def move(rows: Rows, item: Row, queue: str | None, at: datetime, **left: int) -> str:
    """Count that an open item goes to another queue, and what its old queue did with it; returns its queue now."""
    old: str = item["queue"]
    if queue is None or queue == old:
        if left:
            count(rows, item, at, **left)
        return old
    count(rows, item, at, outflow=1, **left)
    count(rows, {**item, "queue": queue}, at, inflow=1)
    return queue
