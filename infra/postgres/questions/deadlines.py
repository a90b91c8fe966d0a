"""Deadlines that run: one row for each clock of an open case that was not missed yet, as far as that is on record."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice

from infra.postgres.querying import matching
from infra.postgres.questions.answer import Answer, Row
from projections.deadlines import CLOCKS, RUNNING_DEADLINES
from projections.service_queues import DIMENSIONS, SERVICE_QUEUES, is_overdue

ABOUT_DEADLINES = (RUNNING_DEADLINES, SERVICE_QUEUES)
"""The read models that are asked: what runs, and whose work it is."""
STATES = ("overdue", "at risk", "in time")
CHOOSABLE = ("clock", "preset", *DIMENSIONS, "regime", "customer_id")
"""By what deadlines can be chosen."""
Chosen = Mapping[str, str | None]
EVERYTHING: Chosen = {}

# Case by case in the order of an index of each clock; what is known of the work comes by the key of its row.
_RUNNING = " UNION ALL ".join(
    f"""SELECT d.case_id AS "case", '{clock}' AS clock, d.{clock}_preset AS preset, d.{clock}_version AS preset_version,
        d.{clock}_due AS due_at, d.customer_id, i.{clock}_from AS starts_at,
        i.{clock}_at_risk_at AS at_risk_at, i.status, i.regime,
        {", ".join(f"i.{name}" for name in DIMENSIONS)}
    FROM deadlines d LEFT JOIN queue_items i ON i.item_id = 'complaint-' || d.case_id
    WHERE d.{clock}_due IS NOT NULL"""
    for clock in CLOCKS
)


def running_deadlines(
    answer: Answer,
    now: datetime,
    limit: int = 0,
    where: Chosen = EVERYTHING,
    state: str | None = None,
    until: datetime | None = None,
) -> Iterator[Row]:
    """So many running deadlines, or with 0 all of them, the earliest first; of one of `STATES`, before `until`.

    Overdue is one that is over and whose miss is not on record. At risk is one that makes its case at risk; where no
    queue knows when the clock began, it is in time until it is over.
    """
    conditions = [matching(where)]
    conditions += ["due_at < %(now)s" if state == "overdue" else "due_at >= %(now)s"] * (state is not None)
    conditions += ["due_at < %(until)s"] * (until is not None)
    values = {**where, "now": now, "until": until}
    # An index knows when deadlines end and not since when they are at risk: those are looked for among all.
    asked = 0 if state in ("at risk", "in time") else limit
    query = f"""SELECT * FROM ({_RUNNING}) running WHERE {" AND ".join(conditions)}
        ORDER BY due_at, "case", clock LIMIT %(limit)s"""
    rows = (_shown(row, now) for row in answer.page(query, values, asked))
    return islice((row for row in rows if state in (None, row["state"])), limit or None)


def _shown(row: Row, now: datetime) -> Row:
    due, at_risk_at = row["due_at"], row.pop("at_risk_at")
    names = ("case", "clock", "preset", "preset_version", "due_at")
    if is_overdue(due, now):
        state = "overdue"
    else:
        state = "at risk" if at_risk_at is not None and at_risk_at <= now else "in time"
    return {
        **{name: row.pop(name) for name in names},
        "state": state,
        "seconds_left": int((due - now).total_seconds()),
        **row,
    }
