"""Outcomes: complaints, contacts, decisions and customers of each day, to be compared with each other and over time.

Only counters are kept, so that any grouping and any window adds up, and rows of what a later event is counted with.
Rates, intervals and alerts are computed when somebody asks.
"""

from collections.abc import Callable
from typing import Any

from domain.values import Recorded
from projections.declare import Key, Projection, Rows, Table
from projections.outcomes import actions, cases, contacts, customers
from projections.outcomes.tables import (
    ACTIONS,
    CASES,
    CAUSES,
    CONTACTS,
    COUNTED,
    CUSTOMER_DIMENSIONS,
    DAILY,
    DEADLINES,
    MOVES,
    PEOPLE,
    REDRESS,
    STOCK,
    TOTALLED,
    TOTALS,
)

__all__ = [
    "ACTIONS",
    "CASES",
    "CAUSES",
    "CONTACTS",
    "COUNTED",
    "CUSTOMER_DIMENSIONS",
    "DAILY",
    "DEADLINES",
    "MOVES",
    "OUTCOMES",
    "PEOPLE",
    "REDRESS",
    "STOCK",
    "TOTALLED",
    "TOTALS",
]

FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {
    **contacts.FOLDS,
    **cases.FOLDS,
    **customers.FOLDS,
    **actions.FOLDS,
}
_ABOUT_A_CUSTOMER = frozenset({"contact.queued", "contact.ended", "complaint.opened"})
"""They also ask where the customer is counted, or what the customer's last contact was."""


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The contact, case or action, and the customer."""
    kind = event.name.partition(".")[0]
    if kind == "customer":
        return ((PEOPLE, (event.meta.customer_id,)),)
    if kind == "action":
        data: Any = event.event
        return ((ACTIONS, (data.action_id,)),)
    own = (CONTACTS if kind == "contact" else CASES, (event.originator_id,))
    return (own, (PEOPLE, (event.meta.customer_id,))) if event.name in _ABOUT_A_CUSTOMER else (own,)


def fold(rows: Rows, event: Recorded) -> None:
    """Count one event."""
    FOLDS[event.name](rows, event)


OUTCOMES = Projection(
    name="outcomes",
    version=2,
    tables=(DAILY, TOTALS, DEADLINES, CAUSES, REDRESS, MOVES, STOCK, CASES, CONTACTS, PEOPLE, ACTIONS),
    handles=frozenset(FOLDS),
    keys=keys,
    fold=fold,
)
