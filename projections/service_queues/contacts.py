"""Contacts in queues: they wait, are talked to, move, and leave the table when they end."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from domain.values import Recorded
from projections.declare import Row, Rows
from projections.measures.first_contact import topic_of
from projections.measures.times import seconds_between
from projections.service_queues.first_contact import comes, solved
from projections.service_queues.rules import RULES
from projections.service_queues.tables import ITEMS, count, enter, move, put


def queued(rows: Rows, event: Recorded) -> None:
    """A contact comes into its queue."""
    queued: Any = event.event
    topic = topic_of(queued)
    again = comes(rows, event.meta.customer_id, event.originator_id, topic, event.meta.occurred_at)
    enter(rows, event, "contact", status="waiting", priority=queued.priority, topic=topic or None, again=again)


def _started(rows: Rows, event: Recorded, item: Row) -> None:
    started: Any = event.event
    at = event.meta.occurred_at
    if item["status"] == "talking":  # another agent joins; the customer waits no more
        put(rows, event, item, owner=started.agent_id)
        return
    wait = seconds_between(item["waiting_since"], at)
    in_time = int(wait <= RULES.at(at).answer_within_seconds)
    item["owner"] = started.agent_id
    count(rows, item, at, answered=1, answered_in_time=in_time, wait_seconds=wait)
    put(rows, event, item, status="talking", owner=started.agent_id, started_at=at)


def _handled(item: Row, at: datetime) -> dict[str, int]:
    """What an agent's part of the conversation adds to its queue."""
    if item["started_at"] is None:
        return {}
    return {"handled": 1, "talk_seconds": seconds_between(item["started_at"], at)}


def _transferred(rows: Rows, event: Recorded, item: Row) -> None:
    transferred: Any = event.event
    at = event.meta.occurred_at
    queue = move(rows, item, transferred.to_queue, at, **_handled(item, at))
    if transferred.to_agent:
        put(rows, event, item, queue=queue, status="talking", owner=transferred.to_agent, started_at=at)
    else:
        put(rows, event, item, queue=queue, status="waiting", owner=None, started_at=None, waiting_since=at)


def _ended(rows: Rows, event: Recorded, item: Row) -> None:
    ended: Any = event.event
    at = event.meta.occurred_at
    count(
        rows,
        item,
        at,
        outflow=1,
        resolved=int(ended.resolved),
        hold_seconds=ended.hold_seconds,
        wrap_up_seconds=ended.wrap_up_seconds,
        **_handled(item, at),
    )
    if ended.resolved:
        solved(rows, item, event.originator_id, at)
    rows.drop(ITEMS, (event.originator_id,))


def _abandoned(rows: Rows, event: Recorded, item: Row) -> None:
    count(rows, item, event.meta.occurred_at, outflow=1, abandoned=1)
    rows.drop(ITEMS, (event.originator_id,))


STEPS: dict[str, Callable[[Rows, Recorded, Row], None]] = {
    "contact.started": _started,
    "contact.transferred": _transferred,
    "contact.ended": _ended,
    "contact.abandoned": _abandoned,
}
