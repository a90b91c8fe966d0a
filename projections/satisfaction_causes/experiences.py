"""The latest contacts and cases of a customer: what went wrong with each, kept small.

Each is a small object under its id. Moments are seconds since 1970, so that an answer looks only at what had happened
by then, in whatever order it was stored: `times` when something happened with it, the last few; and, where it applies,
`queued` since when it waits, `waits` as pairs of end and length, `moved` the first times it was handed over, `reopened`
when first, `due` by clock from when on it would be late, and `late` from when on it was.
"""

from bisect import insort
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from domain.clocks.judgement import goes_on
from domain.values import Recorded
from projections.declare import Row, Rows, Table
from projections.satisfaction_causes.rules import RULES

EXPERIENCES = Table(name="satisfaction_experiences", key={"customer_id": "text"}, columns={"recent": "jsonb"})
"""What happened lately to a customer, by contact and case."""

Item = dict[str, Any]
DAY = 86_400
MOVES, TIMES = max(rule.transfers for rule in RULES), max(rule.kept_times for rule in RULES)
"""So many times of handing over, and of anything else, are kept of one contact or case, by any version of the rules."""


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
                del recent[min(recent, key=lambda one: (recent[one]["times"][-1], one))]
            item = recent[name] = {"times": []}
        times = item["times"]
        if at not in times:
            insort(times, at)
            del times[:-TIMES]
        change(item, data, at)

    return step


def _queued(item: Item, data: Any, at: int) -> None:
    item["queued"] = at


def _answered(item: Item, data: Any, at: int) -> None:
    """Somebody took it, or the customer gave up: the waiting is over."""
    queued = item.pop("queued", None)
    if queued is None:
        return
    waits = item.setdefault("waits", [])
    insort(waits, [at, max(0, at - queued)])
    if len(waits) > TIMES:  # the two that ended first become one
        (_, first), (end, second), *others = waits
        item["waits"] = [[end, first + second], *others]


def _moved(item: Item, at: int) -> None:
    times = item.setdefault("moved", [])
    insort(times, at)
    del times[MOVES:]


def _transferred(item: Item, data: Any, at: int) -> None:
    _moved(item, at)
    if data.to_agent is None:
        item["queued"] = at


def _opened(item: Item, data: Any, at: int) -> None:
    item["queue"] = data.queue


def _assigned(item: Item, data: Any, at: int) -> None:
    """The first owner takes it over. Every other one, and another queue, is a handing over; both at once are one."""
    queue = data.queue or item["queue"]
    if item.get("owner") not in (None, data.owner) or queue != item["queue"]:
        _moved(item, at)
    item["owner"], item["queue"] = data.owner, queue


def _escalated(item: Item, data: Any, at: int) -> None:
    """Who works on it now is in another queue; an escalation inside a queue hands nothing over."""
    if data.to_queue not in (None, item["queue"]):
        _moved(item, at)
        item["queue"] = data.to_queue


def _clock_set(item: Item, data: Any, at: int) -> None:
    """Another deadline saves one only that was not over yet. One that is over already makes it late from now on:
    of a case that is reopened nobody was late while it was closed. As everywhere, one that goes on by itself is none.
    """
    due = item.setdefault("due", {})
    _late(item, due.pop(data.clock, None), at)
    if data.due_at is not None and not goes_on(data.preset):
        due[data.clock] = max(_second(data.due_at) + 1, at)


def _late(item: Item, since: int | None, at: int) -> None:
    if since is not None and since <= at:
        item["late"] = min(item.get("late", since), since)


def _over(item: Item, data: Any, at: int) -> None:
    _late(item, min(item.pop("due", {}).values(), default=None), at)


def _reopened(item: Item, data: Any, at: int) -> None:
    item["reopened"] = min(item.get("reopened", at), at)


STEPS: dict[str, Callable[[Rows, Recorded], None]] = {
    "contact.queued": _step(_queued, begins=True),
    "contact.started": _step(_answered),
    "contact.transferred": _step(_transferred),
    "contact.abandoned": _step(_answered),
    "complaint.opened": _step(_opened, begins=True),
    "complaint.assigned": _step(_assigned),
    "complaint.escalated": _step(_escalated),
    "complaint.clock-set": _step(_clock_set),
    "complaint.resolved": _step(_over),
    "complaint.withdrawn": _step(_over),
    "complaint.reopened": _step(_reopened),
}


def met(recent: Mapping[str, Item], about: str | None, at: datetime) -> Row:
    """What had gone wrong by an answer: with what the question is about, or else with anything of the days before."""
    rule, now = RULES.at(at), _second(at)
    if about is not None and about in recent:
        items = [recent[about]]
    else:
        first = now - rule.window_days * DAY
        items = [item for item in recent.values() if any(first <= time <= now for time in item["times"])]
    waits = [[length for end, length in item.get("waits", ()) if end <= now] for item in items]
    return {
        "reopened": any("reopened" in item and item["reopened"] <= now for item in items),
        "overdue": any(
            since <= now for item in items for since in (*item.get("due", {}).values(), item.get("late", now + 1))
        ),
        "transferred": any(sum(time <= now for time in item.get("moved", ())) >= rule.transfers for item in items),
        "waited": max((sum(one) for one in waits if one), default=None),
    }
