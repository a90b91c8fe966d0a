"""Cases in queues: they stay, closed, because a case that is reopened comes back with its history."""

from collections.abc import Callable
from typing import Any

from domain.values import Recorded
from projections.declare import Row, Rows
from projections.measures.times import seconds_between
from projections.service_queues.rules import RULES
from projections.service_queues.tables import DURATIONS, count, enter, move, put, rounded


def next_deadline(item: Row) -> Row:
    """`due`, the earlier of the deadlines that are set, and `at_risk_at`, from when on it is at risk."""
    clocks = [(item[f"{clock}_due"], item[f"{clock}_from"]) for clock in ("statutory", "service")]
    due, start = min(((due, start) for due, start in clocks if due is not None), default=(None, None))
    return {
        "due": due,
        "at_risk_at": None if start is None or due is None else start + RULES.at(start).at_risk_share * (due - start),
    }


def opened(rows: Rows, event: Recorded) -> None:
    """A case comes into its queue."""
    complaint: Any = event.event
    received = complaint.received_at or event.meta.occurred_at
    enter(
        rows,
        event,
        "case",
        status="open",
        case_type=complaint.case_type,
        priority=complaint.severity,
        regime=complaint.regime,
        opened_at=received,
    )


def _acknowledged(rows: Rows, event: Recorded, item: Row) -> None:
    if item["status"] == "open":  # what was done since says more
        put(rows, event, item, status="acknowledged")


def _waiting(rows: Rows, event: Recorded, item: Row) -> None:
    put(rows, event, item, status="waiting")


def _while_open(item: Row, status: str) -> str:
    """A case that waits for somebody outside goes on waiting, whoever gets it."""
    return "waiting" if item["status"] == "waiting" else status


def _assigned(rows: Rows, event: Recorded, item: Row) -> None:
    assigned: Any = event.event
    queue = move(rows, item, assigned.queue, event.meta.occurred_at)
    put(rows, event, item, status=_while_open(item, "assigned"), queue=queue, owner=assigned.owner)


def _escalated(rows: Rows, event: Recorded, item: Row) -> None:
    escalated: Any = event.event
    queue = move(rows, item, escalated.to_queue, event.meta.occurred_at)
    put(rows, event, item, status=_while_open(item, "escalated"), queue=queue)


def _resumed(rows: Rows, event: Recorded, item: Row) -> None:
    put(rows, event, item, status="assigned" if item["owner"] else "open")


def _clock_set(rows: Rows, event: Recorded, item: Row) -> None:
    clock: Any = event.event
    item[f"{clock.clock}_from"], item[f"{clock.clock}_due"] = clock.starts_at, clock.due_at
    put(rows, event, item, **next_deadline(item))


def _leaves(status: str) -> Callable[[Rows, Recorded, Row], None]:
    """The work is done by a withdrawal, or by closing without a final response. Only the first is an outflow."""

    def step(rows: Rows, event: Recorded, item: Row) -> None:
        if item["open"]:
            count(rows, item, event.meta.occurred_at, outflow=1)
        put(rows, event, item, status=status, open=False)

    return step


def _resolved(rows: Rows, event: Recorded, item: Row) -> None:
    """The final response: in time or not by each clock that runs, and after how long."""
    at = event.meta.occurred_at
    if item["open"]:
        judged = {
            f"{'met' if at <= item[f'{clock}_due'] else 'missed'}_{clock}": 1
            for clock in ("statutory", "service")
            if item[f"{clock}_due"] is not None
        }
        count(rows, item, at, outflow=1, **judged)
        if item["resolved_at"] is None:
            hours = rounded(seconds_between(item["opened_at"], at) // 3600)
            rows.add(DURATIONS, (item["queue"], item["case_type"] or "", hours), finished=1)
    put(rows, event, item, status="resolved", open=False, resolved_at=item["resolved_at"] or at)


def _reopened(rows: Rows, event: Recorded, item: Row) -> None:
    at = event.meta.occurred_at
    back = 0 if item["open"] else 1
    count(rows, item, at, inflow=back, reopened=1)
    status = "assigned" if item["owner"] else "open"
    put(rows, event, item, status=status, open=True, waiting_since=at, reopened=item["reopened"] + 1)


STEPS: dict[str, Callable[[Rows, Recorded, Row], None]] = {
    "complaint.acknowledged": _acknowledged,
    "complaint.assigned": _assigned,
    "complaint.waiting": _waiting,
    "complaint.resumed": _resumed,
    "complaint.escalated": _escalated,
    "complaint.resolved": _resolved,
    "complaint.reopened": _reopened,
    "complaint.withdrawn": _leaves("withdrawn"),
    "complaint.closed": _leaves("closed"),
    "complaint.clock-set": _clock_set,
}
