"""Service queues: what waits in which queue, since when and until when, and what came in and went out each day.

Ages, overdue flags and risks depend on the time of asking and are computed then, not stored; stored are the moments
from which on a case is at risk or overdue.
"""

from collections.abc import Callable

from domain.values import Recorded
from projections.declare import Key, Projection, Row, Rows, Table
from projections.service_queues import alerts, cases, contacts
from projections.service_queues.ages import SHARES
from projections.service_queues.cases import next_deadline
from projections.service_queues.rules import RULES, WINDOWS
from projections.service_queues.summaries import (
    QueueSummary,
    Standing,
    first_day,
    is_at_risk,
    is_overdue,
    standings,
    summarise_queues,
    with_ages,
    with_flow,
)
from projections.service_queues.tables import CELLS, DIMENSIONS, DURATIONS, FIRST, FLOW, ITEMS, MISSED, rounded

__all__ = [
    "CELLS",
    "DIMENSIONS",
    "DURATIONS",
    "FIRST",
    "FLOW",
    "ITEMS",
    "MISSED",
    "RULES",
    "SERVICE_QUEUES",
    "SHARES",
    "WINDOWS",
    "QueueSummary",
    "Standing",
    "first_day",
    "is_at_risk",
    "is_overdue",
    "next_deadline",
    "rounded",
    "standings",
    "summarise_queues",
    "with_ages",
    "with_flow",
]

ARRIVALS: dict[str, Callable[[Rows, Recorded], None]] = {
    "contact.queued": contacts.queued,
    "complaint.opened": cases.opened,
}
STEPS: dict[str, Callable[[Rows, Recorded, Row], None]] = {**contacts.STEPS, **cases.STEPS}
FIRST_OR_LAST = frozenset({"contact.queued", "contact.ended"})


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The item, and for a contact that comes or ends what the customer's contacts solved lately."""
    item = (ITEMS, (event.originator_id,))
    return (item, (FIRST, (event.meta.customer_id,))) if event.name in FIRST_OR_LAST else (item,)


def fold(rows: Rows, event: Recorded) -> None:
    """Move one item. An event of a contact that has ended changes nothing."""
    if arrive := ARRIVALS.get(event.name):
        arrive(rows, event)
    elif item := rows.get(ITEMS, (event.originator_id,)):
        STEPS[event.name](rows, event, item)
        if item["late"]:
            alerts.show(rows, event, item)


SERVICE_QUEUES = Projection(
    name="service_queues",
    version=5,
    tables=(ITEMS, MISSED, FLOW, CELLS, DURATIONS, FIRST),
    handles=frozenset(ARRIVALS) | frozenset(STEPS),
    keys=keys,
    fold=fold,
)
