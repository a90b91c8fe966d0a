"""Deadlines that run: of each open case those that have not been missed yet, so that a miss is found when it happens.

The worker's watch asks for those that are over and reports them (consumers/deadline_watch.py). What is stopped, missed
or of a case that is over is not here.
"""

from typing import Any

from domain.values import Recorded
from projections.declare import Index, Key, Projection, Row, Rows, Table

CLOCKS = ("statutory", "service")
DEADLINES = Table(
    name="deadlines",
    key={"case_id": "text"},
    columns={
        "customer_id": "text",
        **{
            f"{clock}_{name}": kind
            for clock in CLOCKS
            for name, kind in (("preset", "text"), ("version", "integer"), ("due", "timestamptz"))
        },
    },
    indexes=(Index(("statutory_due",)), Index(("service_due",))),
    clear_after=1000,
)
"""One open case. A due time is null while that clock is stopped, and when its miss is on record."""

_NEW: Row = dict.fromkeys(DEADLINES.columns)


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The case."""
    case: Any = event.event
    return ((DEADLINES, (case.complaint_id,)),)


def fold(rows: Rows, event: Recorded) -> None:
    """Keep the deadline of a clock, forget one that was missed, and all of a case that is over."""
    said: Any = event.event
    key = (said.complaint_id,)
    if event.name in ("complaint.resolved", "complaint.withdrawn"):
        rows.drop(DEADLINES, key)
        return
    row = rows.get(DEADLINES, key) or {**_NEW, "customer_id": event.meta.customer_id}
    clock = said.clock
    row[f"{clock}_preset"], row[f"{clock}_version"] = said.preset, said.preset_version
    is_missed = event.name == "complaint.deadline-missed" or said.missed
    row[f"{clock}_due"] = None if is_missed else said.due_at
    rows.put(DEADLINES, key, row)


RUNNING_DEADLINES = Projection(
    name="deadlines",
    version=1,
    tables=(DEADLINES,),
    handles=frozenset(
        ("complaint.clock-set", "complaint.deadline-missed", "complaint.resolved", "complaint.withdrawn")
    ),
    keys=keys,
    fold=fold,
)
