"""What is kept of outcomes: counters of each day, and rows of those that a later event is counted with."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from projections.declare import Index, Key, Row, Table
from projections.measures.times import day_of
from projections.totals import Counted

TOTALLED = ("channel", "branch", "product", "segment", "project_id")
"""The dimensions that a cell has beside its day, and that have totals."""
CUSTOMER_DIMENSIONS = ("branch", "segment", "project_id")
"""The dimensions that a customer has: no rate per customer is known by another one."""
CASE_TYPES = {
    "complaint": "complaints",
    "consultation": "consultations",
    "service_request": "service_requests",
    "dispute": "disputes",
    "data_request": "data_requests",
}
VERDICTS = ("upheld", "partly_upheld", "rejected", "settled")
ON_CASES = ("decided", *VERDICTS, "redressed", "withdrawn", "reopened", "came_back")
COUNTS = ("contacts", "handled", "first_time", *CASE_TYPES.values(), *ON_CASES)

DAILY = Table(
    name="outcome_daily",
    key={"day": "date", **dict.fromkeys(TOTALLED, "text")},
    columns={**dict.fromkeys(COUNTS, "integer"), "seconds": "bigint", "seconds_squared": "bigint"},
    summed=True,
)
"""One cell: what happened on a day (UTC) with the same dimensions; an absent dimension is ''.

`contacts`, `handled` (ended by an agent), `first_time` (resolved, and neither before nor after came another one about
the same topic) and `seconds` (of work, with the sum of their squares) count on the day that the contact was queued;
cases on the day that they were received; `decided`, the verdicts, `redressed` and `came_back` (reopened within
the window of the rules) on the day of the decision; `withdrawn` and `reopened` on their own day.
"""

TOTALS = Table(
    name="outcome_totals",
    key={"dimension": "text", "day": "date", "value": "text"},
    columns=DAILY.columns,
    summed=True,
)
"""The sum of the cells of a day in which this dimension has this value. Where the dimension is '', the sum of all."""

COUNTED = Counted(DAILY, TOTALS, TOTALLED)
count = COUNTED.count

DEADLINES = Table(
    name="outcome_deadlines",
    key={"day": "date", "regime": "text", "clock": "text", **dict.fromkeys(TOTALLED, "text")},
    columns={"met": "integer", "missed": "integer"},
    summed=True,
)
"""Decisions of a day by clock, statutory or service, and the preset that it ran under then; of one that was missed, the
preset whose deadline was missed first.
"""

CAUSES = Table(
    name="outcome_causes",
    key={"day": "date", "product": "text", "cause": "text", "branch": "text"},
    columns={"complaints": "integer"},
    summed=True,
)
"""Complaints received on a day."""

REDRESS = Table(
    name="outcome_redress",
    key={"day": "date", "currency": "text", **dict.fromkeys(TOTALLED, "text")},
    columns={"cases": "integer", "minor": "bigint"},
    summed=True,
)
"""Redress of the decisions of a day, in minor units."""

MOVES = Table(
    name="outcome_moves",
    key={"day": "date", **dict.fromkeys(CUSTOMER_DIMENSIONS, "text")},
    columns=dict.fromkeys(("joined", "closed", "moved_in", "moved_out"), "integer"),
    summed=True,
)
"""Customers of a day that came, left (all products closed), or moved from one cell to another."""

STOCK = Table(
    name="outcome_stock",
    key=dict.fromkeys(CUSTOMER_DIMENSIONS, "text"),
    columns={"customers": "integer"},
    summed=True,
)
"""Customers after all moves: those of an earlier day are these without the moves since."""

CASES = Table(
    name="outcome_cases",
    key={"case_id": "text"},
    columns={
        "case_type": "text",
        "received_on": "date",
        **dict.fromkeys(TOTALLED, "text"),
        "cause": "text",
        "regime": "text",
        "statutory_due": "timestamptz",
        "statutory_missed": "text",
        "service_preset": "text",
        "service_due": "timestamptz",
        "service_missed": "text",
        "verdict": "text",
        "decided_at": "timestamptz",
        "reopened": "smallint",
    },
    indexes=(Index(("product", "cause", "branch", "received_on")),),
)
"""A case under its stream name, with the dimensions that it is counted by. `verdict` is of the decision that stands,
`statutory_missed` and `service_missed` the preset under which a deadline was missed since it was opened or reopened.
"""

CONTACTS = Table(
    name="outcome_contacts",
    key={"contact_id": "text"},
    columns={
        "day": "date",
        **dict.fromkeys(TOTALLED, "text"),
        "topic": "text",
        "again": "boolean",
        "started_at": "timestamptz",
        "seconds": "integer",
    },
)
"""A contact as long as it lasts. `again`: the customer had another one about this topic shortly before."""

PEOPLE = Table(
    name="outcome_people",
    key={"customer_id": "text"},
    columns={**dict.fromkeys(CUSTOMER_DIMENSIONS, "text"), "recent": "jsonb"},
)
"""A customer: where they are counted, and by topic their last contact while another one would make it a failure."""

ACTIONS = Table(
    name="outcome_actions",
    key={"action_id": "text"},
    columns={
        "owner": "text",
        "due": "date",
        "description": "text",
        **dict.fromkeys(("product", "cause", "branch"), "text"),
        "opened_on": "date",
        "result": "text",
        "closed_on": "date",
        "effective_on": "date",
        "note": "text",
    },
)
"""What the bank does about a cause. Product, cause and branch are null where any is meant; `result` until it is closed.
"""


def cell_of(event: Any, person: Row | None, moment: datetime) -> Key:
    """The cell of an event that has dimensions and a channel; what it does not say is as the customer has it."""
    known: Mapping[str, Any] = person or _NOWHERE
    return (
        day_of(moment),
        event.channel,
        event.branch or known["branch"],
        event.product or "",
        event.segment or known["segment"],
        event.project_id or known["project_id"],
    )


_NOWHERE = dict.fromkeys(CUSTOMER_DIMENSIONS, "")


def dimensions_of(row: Row) -> tuple[Any, ...]:
    """The dimensions of a row that has all of them, in the order of a cell."""
    return (row["channel"], row["branch"], row["product"], row["segment"], row["project_id"])
