"""What waits in the queues, since when and until when."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from infra.postgres.querying import matching
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.forecast import Forecasts
from projections.measures.times import seconds_between
from projections.service_queues import (
    DIMENSIONS,
    FLOW,
    SHARES,
    QueueSummary,
    first_day,
    is_at_risk,
    is_overdue,
    with_ages,
    with_flow,
)

STATES = {
    "overdue": "due < %(now)s",
    "at risk": "due >= %(now)s AND at_risk_at <= %(now)s",
    "in time": "due >= %(now)s AND at_risk_at > %(now)s",
    "no deadline": "due IS NULL",
}
"""The most urgent cases first."""
CHOOSABLE = (*DIMENSIONS, "regime", "customer_id")
"""By what open cases can be chosen."""
_SHOWN = (
    *("queue", "status", "case_type", "customer_id", "owner", "priority", "regime", "opened_at", "reopened"),
    *("statutory_due", "service_due", "branch", "product", "segment", "project_id"),
)
_CASES = f"""SELECT item_id, due, at_risk_at, {", ".join(_SHOWN)} FROM queue_items WHERE {{}}
    ORDER BY {{}}due, item_id LIMIT %(limit)s"""
Chosen = Mapping[str, object]
"""Column -> its value, one of a list of them, or None where it is not asked about."""
EVERYTHING: Chosen = {}
_SUMS = ", ".join(f"sum({name})::bigint AS {name}" for name in FLOW.columns)


def summaries(answer: Answer, now: datetime, by: str = "queue", where: Chosen = EVERYTHING) -> Sequence[QueueSummary]:
    """Each group as it stands at a moment: the same as `projections.service_queues.standings`, where the items are.

    `by` and the names in `where` are dimensions, `where` may also have `kind`.
    """
    chosen = {name: value for name, value in where.items() if value is not None}
    group = "queue" if by == "queue" else f"coalesce({by}::text, '')"
    # By queue all columns are in one index of what is open.
    open_items = f"""SELECT {group} AS "group", kind, count(*) AS open,
            count(*) FILTER (WHERE status = 'waiting') AS waiting,
            percentile_disc(%(shares)s::float8[]) WITHIN GROUP (ORDER BY opened_at DESC) AS opened,
            min(statutory_due) FILTER (WHERE statutory_due >= %(now)s) AS next_statutory_due,
            min(service_due) FILTER (WHERE service_due >= %(now)s) AS next_service_due,
            count(*) FILTER (WHERE statutory_due < %(now)s) AS overdue_statutory,
            count(*) FILTER (WHERE service_due < %(now)s) AS overdue_service,
            count(*) FILTER (WHERE {STATES["at risk"]}) AS at_risk
        FROM queue_items WHERE open AND {matching(chosen)} GROUP BY 1, 2"""
    plain = by == "queue" and set(chosen) <= {"queue", "kind"}
    names = ", ".join(dict.fromkeys(("day", "kind", by)))
    # Of the cells as many are added up as there are days and groups.
    flow = (
        f"""SELECT * FROM queue_flow WHERE day >= %(first)s AND {matching(chosen)}"""
        if plain
        else (
            f"SELECT {names}, {_SUMS} FROM queue_cells WHERE day >= %(first)s AND {matching(chosen)} GROUP BY {names}"
        )
    )
    values = {**chosen, "now": now, "first": first_day(now), "shares": list(SHARES)}
    standing = with_ages(answer.rows(open_items, values), now)
    return with_flow(standing, answer.rows(flow, values), now, by)


def open_cases(
    answer: Answer,
    now: datetime,
    limit: int = 0,
    where: Chosen = EVERYTHING,
    state: str | None = None,
    forecasts: Forecasts | None = None,
    after: Row | None = None,
) -> Iterator[Row]:
    """So many open cases, or with 0 all of them: the overdue first, then those at risk, then by deadline.

    `where` has values of `CHOOSABLE`, `state` is one of `STATES`. With `forecasts`, which look at every open case once,
    `breach` says how likely the next deadline is missed. With `after`, a case as it was returned, those behind it.
    """
    chosen = {name: value for name, value in where.items() if value is not None}
    condition = f"open AND kind = 'case' AND {matching(chosen)}"
    parts: Sequence[str] = [STATES[state]] if state else list(STATES.values())
    if after is not None:
        parts, place = _behind(after, parts, now)
        chosen |= place
    if "customer_id" in chosen and after is None:  # of one customer there are few: one question for all parts
        condition += f" AND ({' OR '.join(parts)})"
        ranks = " ".join(f"WHEN {part} THEN {rank}" for rank, part in enumerate(parts))
        items = answer.page(_CASES.format(condition, f"CASE {ranks} END, "), {**chosen, "now": now}, limit)
    else:
        items = _part_by_part(answer, condition, parts, {**chosen, "now": now}, limit)
    return (as_case(item, now, forecasts) for item in items)


def _behind(case: Row, parts: Sequence[str], now: datetime) -> tuple[Sequence[str], dict[str, object]]:
    """What is left of the parts behind a case, and the values that say where it stands."""
    dues = [case[due] for due in ("statutory_due", "service_due") if case[due] is not None]
    due, item_id = min(dues, default=None), f"complaint-{case['case']}"
    if due is None:
        name = "no deadline"
    elif due < now:
        name = "overdue"
    else:
        name = "at risk" if case["state"] == "at risk" else "in time"
    place = "item_id > %(behind)s" if due is None else "(due, item_id) > (%(behind_due)s, %(behind)s)"
    order = list(STATES.values())
    first = order.index(STATES[name])
    left = [f"{part} AND {place}" if part == STATES[name] else part for part in parts if order.index(part) >= first]
    return left, {"behind_due": due, "behind": item_id}


def _part_by_part(
    answer: Answer, where: str, parts: Sequence[str], values: Mapping[str, object], limit: int
) -> Iterator[Row]:
    """Each part comes in the order of an index, and no more is read than is wanted."""
    wanted = limit
    for part in parts:
        for item in answer.page(_CASES.format(f"{where} AND {part}", ""), values, wanted):
            wanted -= 1 if limit else 0
            yield item
        if limit and not wanted:
            return


CLOCKS = ("statutory", "service")


def as_case(item: Row, now: datetime, forecasts: Forecasts | None = None) -> Row:
    """A row of `queue_items` that is an open case, as it is shown."""
    dues = [item[f"{clock}_due"] for clock in CLOCKS]
    late = {f"overdue_{clock}": is_overdue(due, now) for clock, due in zip(CLOCKS, dues, strict=True)}
    if any(late.values()):
        state = "overdue"
    elif is_at_risk(item, now):
        state = "at risk"
    else:
        state = "in time" if any(dues) else "no deadline"
    return {
        "case": item["item_id"].removeprefix("complaint-"),
        "state": state,
        **{name: item[name] for name in _SHOWN},
        **late,
        "age_seconds": seconds_between(item["opened_at"], now),
        **({} if forecasts is None else {"breach": forecasts.of(item)}),
    }
