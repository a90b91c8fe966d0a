"""Cases: received, decided in time or late, and whether the decision held."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from domain.clocks.judgement import begin_again, set_deadline, verdicts
from domain.values import Recorded
from projections.declare import Row, Rows
from projections.measures.times import day_of
from projections.outcomes.rules import OUTCOMES
from projections.outcomes.tables import (
    CASE_TYPES,
    CASES,
    CAUSES,
    DEADLINES,
    PEOPLE,
    REDRESS,
    TOTALLED,
    cell_of,
    count,
    dimensions_of,
)


def _opened(rows: Rows, event: Recorded) -> None:
    opened: Any = event.event
    person = rows.get(PEOPLE, (event.meta.customer_id,))
    cell = cell_of(opened, person, opened.received_at or event.meta.occurred_at)
    case: Row = dict.fromkeys(CASES.columns)
    case |= zip(("received_on", *TOTALLED), cell, strict=True)
    case |= {"case_type": opened.case_type, "cause": opened.cause or "", "regime": opened.regime, "reopened": 0}
    rows.put(CASES, (event.originator_id,), case)
    count(rows, cell, **{CASE_TYPES[opened.case_type]: 1})
    if opened.case_type == "complaint":
        rows.add(CAUSES, (cell[0], case["product"], case["cause"], case["branch"]), complaints=1)


def _clock_set(rows: Rows, event: Recorded, case: Row) -> None:
    said: Any = event.event
    set_deadline(case, said.clock, said.preset, said.due_at, event.meta.occurred_at)


def _resolved(rows: Rows, event: Recorded, case: Row) -> None:
    resolved: Any = event.event
    at = event.meta.occurred_at
    day, dimensions = day_of(at), dimensions_of(case)
    for one in verdicts(case, at):
        rows.add(DEADLINES, (day, one.preset, one.clock, *dimensions), **{one.word: 1})
    counts = {"decided": 1, resolved.outcome: 1}
    if resolved.redress is not None and resolved.redress.minor:
        counts["redressed"] = 1
        rows.add(REDRESS, (day, resolved.redress.currency, *dimensions), cases=1, minor=resolved.redress.minor)
    count(rows, (day, *dimensions), **counts)
    case["verdict"], case["decided_at"] = resolved.outcome, at


def _reopened(rows: Rows, event: Recorded, case: Row) -> None:
    at, dimensions = event.meta.occurred_at, dimensions_of(case)
    count(rows, (day_of(at), *dimensions), reopened=1)
    decided = case["decided_at"]
    if decided is not None and at - decided <= timedelta(days=OUTCOMES.at(decided).reopened_days):
        count(rows, (day_of(decided), *dimensions), came_back=1)
    case["verdict"] = case["decided_at"] = None
    begin_again(case)
    case["reopened"] += 1


def _withdrawn(rows: Rows, event: Recorded, case: Row) -> None:
    count(rows, (day_of(event.meta.occurred_at), *dimensions_of(case)), withdrawn=1)


STEPS: dict[str, Callable[[Rows, Recorded, Row], None]] = {
    "complaint.clock-set": _clock_set,
    "complaint.resolved": _resolved,
    "complaint.reopened": _reopened,
    "complaint.withdrawn": _withdrawn,
}


def _step(rows: Rows, event: Recorded) -> None:
    key = (event.originator_id,)
    case = rows.get(CASES, key)
    if case is not None:
        STEPS[event.name](rows, event, case)
        rows.put(CASES, key, case)


FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {"complaint.opened": _opened, **dict.fromkeys(STEPS, _step)}
