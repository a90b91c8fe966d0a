"""Actions: what the bank does about a cause, and since when."""

from collections.abc import Callable
from typing import Any

from domain.values import Recorded
from projections.declare import Row, Rows
from projections.measures.times import day_of
from projections.outcomes.tables import ACTIONS

_TOLD = ("owner", "due", "description", "product", "cause", "branch")


def _opened(rows: Rows, event: Recorded) -> None:
    action: Row = dict.fromkeys(ACTIONS.columns)
    action |= {name: getattr(event.event, name) for name in _TOLD}
    action["opened_on"] = day_of(event.meta.occurred_at)
    rows.put(ACTIONS, (_id(event),), action)


def _closed(rows: Rows, event: Recorded) -> None:
    closed: Any = event.event
    action = rows.get(ACTIONS, (_id(event),))
    if action is not None:
        day = day_of(event.meta.occurred_at)
        action |= {"result": closed.result, "closed_on": day, "note": closed.note}
        action["effective_on"] = closed.effective_on or day
        rows.put(ACTIONS, (_id(event),), action)


def _id(event: Recorded) -> str:
    data: Any = event.event
    action_id: str = data.action_id
    return action_id


FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {"action.opened": _opened, "action.closed": _closed}
