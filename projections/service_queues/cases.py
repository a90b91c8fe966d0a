"""Cases in queues: they stay, closed, because a case that is reopened comes back with its history."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from domain import clocks
from domain.clocks.judgement import PRESET, begin_again, set_deadline, verdicts
from domain.values import Recorded
from projections.declare import Row, Rows
from projections.measures.times import seconds_between
from projections.service_queues import alerts
from projections.service_queues.rules import RULES
from projections.service_queues.tables import DURATIONS, count, enter, move, put, rounded


def next_deadline(item: Row) -> Row:
    """`due`, the earlier of the deadlines that are set, and `at_risk_at`, from when on one of the clocks is at risk."""
    return {
        name: min((at for clock in PRESET if (at := item[f"{clock}_{name}"]) is not None), default=None)
        for name in ("due", "at_risk_at")
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
    waiting: Any = event.event
    at = event.meta.occurred_at
    _pause_ends(item, at)
    put(rows, event, item, status="waiting", pauses=[*(item["pauses"] or ()), [at.isoformat(), None, waiting.pause]])


def _pause_ends(item: Row, at: datetime) -> None:
    """No pause lasts any longer."""
    pauses = item["pauses"]
    if pauses and pauses[-1][1] is None:
        start, _, reason = pauses[-1]
        item["pauses"] = [*pauses[:-1], [start, at.isoformat(), reason]]


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
    _pause_ends(item, event.meta.occurred_at)
    put(rows, event, item, status="assigned" if item["owner"] else "open")


def _clock_set(rows: Rows, event: Recorded, item: Row) -> None:
    said: Any = event.event
    set_deadline(item, said.clock, said.preset, said.due_at, event.meta.occurred_at)
    item[f"{said.clock}_from"], item[f"{said.clock}_at_risk_at"] = said.starts_at, _at_risk_at(item, said)
    alerts.moved(rows, event, item)
    put(rows, event, item, **next_deadline(item))


def _missed(rows: Rows, event: Recorded, item: Row) -> None:
    """What is on record as missed changes nothing in the queue (docs/adr/0015); somebody shall see to it."""
    alerts.missed(rows, event, item)
    put(rows, event, item)


def _at_risk_at(item: Row, said: Any) -> datetime | None:
    if said.due_at is None:
        return None
    return clocks.gone_at(
        RULES.at(said.starts_at).at_risk_share,
        said.starts_at,
        said.due_at,
        clocks.pinned(said.preset, said.preset_version),
        extensions=said.extensions,
        pauses=[(_moment(start), _moment(end), reason) for start, end, reason in item["pauses"] or () if end],
    )


_moment = datetime.fromisoformat


def _leaves(status: str) -> Callable[[Rows, Recorded, Row], None]:
    """A withdrawal ends the work. A case is closed when it is over already, and does not flow out once more."""

    def step(rows: Rows, event: Recorded, item: Row) -> None:
        if item["open"]:
            count(rows, item, event.meta.occurred_at, outflow=1, finished=1)
        _pause_ends(item, event.meta.occurred_at)
        put(rows, event, item, status=status, open=False)

    return step


def _resolved(rows: Rows, event: Recorded, item: Row) -> None:
    """The final response: in time or not by each clock that runs, and after how long."""
    at = event.meta.occurred_at
    if item["open"]:
        count(rows, item, at, outflow=1, finished=1, **{f"{one.word}_{one.clock}": 1 for one in verdicts(item, at)})
        if item["resolved_at"] is None:
            hours = rounded(seconds_between(item["opened_at"], at) // 3600)
            rows.add(DURATIONS, (item["queue"], item["case_type"] or "", hours), finished=1)
    _pause_ends(item, at)
    put(rows, event, item, status="resolved", open=False, resolved_at=item["resolved_at"] or at)


def _reopened(rows: Rows, event: Recorded, item: Row) -> None:
    at = event.meta.occurred_at
    back = 0 if item["open"] else 1
    count(rows, item, at, inflow=back, reopened=1)
    status = "assigned" if item["owner"] else "open"
    begin_again(item)
    alerts.forget(rows, event, item)
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
    "complaint.deadline-missed": _missed,
}
