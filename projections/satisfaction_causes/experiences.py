"""The latest contacts and cases of a customer: what went wrong with each, kept small.

Each is a small object under its id: `at` when something last happened with it (seconds since 1970), and, where it
applies, `queued` since when it waits, `waited` seconds, `moved` how often handed over, `reopened`, `due` by clock, and
`late` since when it missed a deadline.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from domain.values import Recorded
from projections.declare import Row, Rows, Table
from projections.satisfaction_causes.rules import RULES

EXPERIENCES = Table(name="satisfaction_experiences", key={"customer_id": "text"}, columns={"recent": "jsonb"})
"""What happened lately to a customer, by contact and case."""

Item = dict[str, Any]
DAY = 86_400


def _second(moment: datetime) -> int:
    return int(moment.timestamp())


def _step(change: Callable[[Item, Any, int], None], *, begins: bool = False) -> Callable[[Rows, Recorded], None]:
    """Change the item that an event is about. One that is not known any more is left, unless the event begins it."""

    def step(rows: Rows, event: Recorded) -> None:
        data: Any = event.event
        name = data.contact_id if event.name.startswith("contact.") else data.complaint_id
        key, at = (event.meta.customer_id,), _second(event.meta.occurred_at)
        row: Row | None = rows.edit(EXPERIENCES, key)
        if row is None:
            if not begins:
                return
            row = {"recent": {}}
            rows.put(EXPERIENCES, key, row)
        recent = row["recent"]
        item = recent.get(name)
        if item is None:
            if not begins:
                return
            if len(recent) >= RULES.at(event.meta.occurred_at).kept:
                del recent[min(recent, key=lambda one: (recent[one]["at"], one))]
            item = recent[name] = {"at": at}
        item["at"] = max(item["at"], at)
        change(item, data, at)

    return step


def _queued(item: Item, data: Any, at: int) -> None:
    item["queued"] = at


def _answered(item: Item, data: Any, at: int) -> None:
    """Somebody took it, or the customer gave up: the waiting is over."""
    queued = item.pop("queued", None)
    if queued is not None:
        item["waited"] = item.get("waited", 0) + max(0, at - queued)


def _transferred(item: Item, data: Any, at: int) -> None:
    item["moved"] = item.get("moved", 0) + 1
    if data.to_agent is None:
        item["queued"] = at


def _nothing(item: Item, data: Any, at: int) -> None:
    """That it happened is enough."""


def _assigned(item: Item, data: Any, at: int) -> None:
    """The first owner takes it over; every other one is a handing over."""
    if item.get("owner") not in (None, data.owner):
        item["moved"] = item.get("moved", 0) + 1
    item["owner"] = data.owner


def _clock_set(item: Item, data: Any, at: int) -> None:
    """Another deadline saves one only that was not over yet."""
    due = item.setdefault("due", {})
    _late(item, due.pop(data.clock, None), at)
    if data.due_at is not None:
        due[data.clock] = _second(data.due_at)


def _late(item: Item, due: int | None, at: int) -> None:
    if due is not None and at > due:
        item["late"] = min(item.get("late", due), due)


def _over(item: Item, data: Any, at: int) -> None:
    _late(item, min(item.pop("due", {}).values(), default=None), at)


def _reopened(item: Item, data: Any, at: int) -> None:
    """It is judged anew from now on: while it was over, no deadline passed."""
    item["reopened"] = item.get("reopened", 0) + 1


STEPS: dict[str, Callable[[Rows, Recorded], None]] = {
    "contact.queued": _step(_queued, begins=True),
    "contact.started": _step(_answered),
    "contact.transferred": _step(_transferred),
    "contact.abandoned": _step(_answered),
    "complaint.opened": _step(_nothing, begins=True),
    "complaint.assigned": _step(_assigned),
    "complaint.clock-set": _step(_clock_set),
    "complaint.resolved": _step(_over),
    "complaint.withdrawn": _step(_over),
    "complaint.reopened": _step(_reopened),
}


def met(recent: Mapping[str, Item], about: str | None, at: datetime) -> Row:
    """What went wrong before an answer: with what the question is about, or else with anything of the days before."""
    rule, now = RULES.at(at), _second(at)
    if about is not None and about in recent:
        items = [recent[about]]
    else:
        items = [item for item in recent.values() if now - rule.window_days * DAY <= item["at"] <= now]
    waits = [item["waited"] for item in items if "waited" in item]
    return {
        "reopened": any(item.get("reopened", 0) for item in items),
        "overdue": any(
            item.get("late", now) < now or min(item.get("due", {}).values(), default=now) < now for item in items
        ),
        "transferred": any(item.get("moved", 0) >= rule.transfers for item in items),
        "waited": max(waits, default=None),
    }
