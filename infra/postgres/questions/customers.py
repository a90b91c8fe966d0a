"""What is known of customers: who is likely to leave, and everything that happened with one of them."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Mapping
from datetime import datetime
from heapq import merge, nlargest
from itertools import islice

from infra.postgres.ops import matching
from infra.postgres.questions.answer import Answer, Row
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.retention_risk import RETENTION_RISK, sweep
from projections.service_queues import SERVICE_QUEUES

ABOUT_ONE = (CUSTOMER_TIMELINE, RETENTION_RISK, SERVICE_QUEUES)
"""The read models that know a customer."""
BANDS = ("high", "medium", "low", "unknown", "closed")
"""In the order in which customers are listed; the first three are ranges of the probability."""
NOTHING: Mapping[str, str | None] = {}


def timeline(
    answer: Answer, customer_id: str, limit: int = 0, since: datetime | None = None, kind: str | None = None
) -> Iterator[Row]:
    """So many things that happened with one customer, or with 0 all of them, newest first."""
    where = "customer_id = %(customer)s"
    if since is not None:
        where += " AND occurred_at >= %(since)s"
    if kind is not None:
        where += " AND (type = %(kind)s OR starts_with(type, %(kind)s || '.'))"
    query = f"""SELECT * FROM customer_timeline WHERE {where}
        ORDER BY occurred_at DESC, log_position DESC LIMIT %(limit)s"""
    return answer.page(query, {"customer": customer_id, "since": since, "kind": kind}, limit)


def risk_of(answer: Answer, customer_id: str, now: datetime) -> Row | None:
    """The score of one customer as of now, or None when nothing is stored about them."""
    rows = answer.rows("SELECT * FROM retention_risk WHERE customer_id = %(customer)s", {"customer": customer_id})
    return _row(_as_of(rows[0], now)) if rows else None


def riskiest(
    answer: Answer, now: datetime, limit: int = 0, band: str | None = None, filters: Mapping[str, str | None] = NOTHING
) -> Iterator[Row]:
    """The customers with the highest risk as of now, so many or with 0 all of them.

    Rows that are due are scored anew, whatever band they had; of the others the stored order holds.
    """
    where = matching(filters)
    due = answer.stream(
        f"SELECT * FROM retention_risk WHERE next_change_at <= %(now)s AND {where}", {**filters, "now": now}
    )
    scored = (row for row in (_as_of(row, now) for row in due) if band in (None, row["band"]))
    anew = nlargest(limit, scored, key=_rank) if limit else sorted(scored, key=_rank, reverse=True)
    bands = BANDS if band is None else (band,)
    stored = (row for one in bands for row in _stored(answer, now, limit, one, filters))
    for row in islice(merge(anew, stored, key=_rank, reverse=True), limit or None):
        yield _row(row)


def _stored(answer: Answer, now: datetime, limit: int, band: str, filters: Mapping[str, str | None]) -> Iterator[Row]:
    # In the order of the indexes, which end with (band, probability, customer_id) and are read backwards.
    query = f"""SELECT * FROM retention_risk WHERE band = %(band)s AND {matching(filters)}
        AND (next_change_at IS NULL OR next_change_at > %(now)s)
        ORDER BY probability DESC, customer_id DESC LIMIT %(limit)s"""
    return answer.page(query, {**filters, "band": band, "now": now}, limit)


def _rank(row: Row) -> tuple[int, float]:
    return -BANDS.index(row["band"]), row["probability"] or 0.0


def _as_of(row: Row, now: datetime) -> Row:
    change = row["next_change_at"]
    return row if change is None or change > now else dict(sweep(row, now))


def _row(row: Row) -> Row:
    names = ("customer_id", "band", "probability", "logit", "reasons", "scored_at", "next_change_at")
    logit = None if row["logit"] is None else float(row["logit"])
    dimensions = {name: row[name] for name in ("branch", "segment", "project_id", "manager_id")}
    return {**{name: row[name] for name in names}, "logit": logit, **dimensions, "position": row["position"]}
