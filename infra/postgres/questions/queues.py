"""What waits in the queues, since when and until when."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from infra.postgres.ops import matching
from infra.postgres.questions.answer import Answer, Row
from projections.service_queues import (
    MONTH,
    QueueSummary,
    Standing,
    is_at_risk,
    is_overdue,
    seconds_between,
    with_flow,
)

AGE = "greatest(floor(extract(epoch FROM %(now)s - {})), 0)::bigint"
"""In seconds, of what was opened then."""
IN_ORDER = (
    "due < %(now)s",
    "due >= %(now)s AND at_risk_at <= %(now)s",
    "due >= %(now)s AND at_risk_at > %(now)s",
    "due IS NULL",
)
"""The most urgent cases first: overdue, at risk, in time, and those without a deadline."""
EVERYBODY: Mapping[str, object] = {}
_SHOWN = (
    *("queue", "status", "customer_id", "owner", "priority", "regime", "opened_at", "reopened"),
    *("statutory_due", "service_due", "branch", "product", "segment", "project_id"),
)
_CASES = f"""SELECT item_id, due, at_risk_at, {", ".join(_SHOWN)} FROM queue_items WHERE {{}}
    ORDER BY {{}}due, item_id LIMIT %(limit)s"""


def summaries(
    answer: Answer, now: datetime, queue: str | None = None, kind: str | None = None
) -> Sequence[QueueSummary]:
    """Each queue as it stands at a moment: the same as `projections.service_queues.standings`, where the items are."""
    chosen = {"queue": queue, "kind": kind}
    ages = ", ".join(
        f"{AGE.format(opened)} AS age_{name}"
        for name, opened in (("p50", "opened[1]"), ("p90", "opened[2]"), ("max", "oldest"))
    )
    # All columns are in one index of what is open.
    open_items = f"""SELECT queue, kind, open, waiting, {ages}, next_statutory_due, next_service_due,
            overdue_statutory, overdue_service, at_risk
        FROM (SELECT queue, kind, count(*) AS open, count(*) FILTER (WHERE status = 'waiting') AS waiting,
                percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY opened_at DESC) AS opened,
                min(opened_at) AS oldest,
                min(statutory_due) FILTER (WHERE statutory_due >= %(now)s) AS next_statutory_due,
                min(service_due) FILTER (WHERE service_due >= %(now)s) AS next_service_due,
                count(*) FILTER (WHERE statutory_due < %(now)s) AS overdue_statutory,
                count(*) FILTER (WHERE service_due < %(now)s) AS overdue_service,
                count(*) FILTER (WHERE {IN_ORDER[1]}) AS at_risk
            FROM queue_items WHERE open AND {matching(chosen)} GROUP BY queue, kind) counted"""
    flow = f"SELECT * FROM queue_flow WHERE day >= %(first)s AND {matching(chosen)}"
    values = {**chosen, "now": now, "first": now.date() - timedelta(days=MONTH)}
    standing = [Standing(**row) for row in answer.rows(open_items, values)]
    return with_flow(standing, answer.rows(flow, values), now)


def open_cases(
    answer: Answer,
    now: datetime,
    limit: int = 0,
    *,
    queue: str | None = None,
    customer_id: str | None = None,
    overdue: bool = False,
    rows: Mapping[str, object] = EVERYBODY,
    after: Row | None = None,
) -> Iterator[Row]:
    """So many open cases, or with 0 all of them: the overdue first, then those at risk, then by deadline.

    `rows` has values of other columns, such as the branch. With `after`, a case as it was returned, those behind it.
    """
    chosen = {"queue": queue, "customer_id": customer_id, **rows}
    where = f"open AND kind = 'case' AND {matching(chosen)}"
    parts = IN_ORDER[:1] if overdue else IN_ORDER
    first, behind, place = _behind(after, now) if after is not None else (0, "true", {})
    chosen |= place
    if customer_id is not None and after is None:  # of one customer there are few: one question for all parts
        where += f" AND ({' OR '.join(parts)})"
        ranks = " ".join(f"WHEN {part} THEN {rank}" for rank, part in enumerate(parts))
        items = answer.page(_CASES.format(where, f"CASE {ranks} END, "), {**chosen, "now": now}, limit)
    else:
        wheres = [f"{where} AND {part}" + f" AND {behind}" * (n == first) for n, part in enumerate(parts) if n >= first]
        items = _part_by_part(answer, wheres, {**chosen, "now": now}, limit)
    return (_case(item, now) for item in items)


def _behind(case: Row, now: datetime) -> tuple[int, str, dict[str, object]]:
    """The part in which a case stands, and what is true of those behind it there."""
    dues = [case[due] for due in ("statutory_due", "service_due") if case[due] is not None]
    due, item_id = min(dues, default=None), f"complaint-{case['case']}"
    if due is None:
        return 3, "item_id > %(behind)s", {"behind": item_id}
    part = 0 if due < now else 1 if case["state"] == "at risk" else 2
    return part, "(due, item_id) > (%(due)s, %(behind)s)", {"due": due, "behind": item_id}


def _part_by_part(answer: Answer, wheres: Sequence[str], values: Mapping[str, object], limit: int) -> Iterator[Row]:
    """Each part comes in the order of an index, and no more is read than is wanted."""
    wanted = limit
    for where in wheres:
        for item in answer.page(_CASES.format(where, ""), values, wanted):
            wanted -= 1 if limit else 0
            yield item
        if limit and not wanted:
            return


def _case(item: Row, now: datetime) -> Row:
    late = {f"overdue_{clock}": is_overdue(item[f"{clock}_due"], now) for clock in ("statutory", "service")}
    return {
        "case": item["item_id"].removeprefix("complaint-"),
        "state": "overdue" if any(late.values()) else "at risk" if is_at_risk(item, now) else "in time",
        **{name: item[name] for name in _SHOWN},
        **late,
        "age_seconds": seconds_between(item["opened_at"], now),
    }
