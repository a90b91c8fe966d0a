"""What is known of customers: who is likely to leave, and everything that happened with one of them."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Mapping
from datetime import datetime
from heapq import merge, nlargest
from itertools import islice
from typing import Any

from infra.postgres.ops import matching
from infra.postgres.questions.answer import Answer, Row
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.retention_risk import RETENTION_RISK, sweep
from projections.service_queues import SERVICE_QUEUES

ABOUT_ONE = (CUSTOMER_TIMELINE, RETENTION_RISK, SERVICE_QUEUES)
"""The read models that know a customer."""
BANDS = ("high", "medium", "low", "unknown", "closed")
"""In the order in which customers are listed; the first three are ranges of the probability."""
NOTHING: Mapping[str, object] = {}
Place = tuple[str, float | None, str]
"""Where a customer stands among the others: band, probability and id."""


def timeline(
    answer: Answer,
    customer_id: str,
    limit: int = 0,
    since: datetime | None = None,
    kind: str | None = None,
    before: tuple[datetime, int] | None = None,
) -> Iterator[Row]:
    """So many things that happened with one customer, or with 0 all of them, newest first.

    With `before` only those behind the one at this time and position of the log.
    """
    where = "customer_id = %(customer)s"
    if since is not None:
        where += " AND occurred_at >= %(since)s"
    if kind is not None:
        where += " AND (type = %(kind)s OR starts_with(type, %(kind)s || '.'))"
    if before is not None:
        where += " AND (occurred_at, log_position) < (%(before)s, %(position)s)"
    at, position = before or (None, None)
    query = f"""SELECT * FROM customer_timeline WHERE {where}
        ORDER BY occurred_at DESC, log_position DESC LIMIT %(limit)s"""
    values = {"customer": customer_id, "since": since, "kind": kind, "before": at, "position": position}
    return answer.page(query, values, limit)


def risk_of(answer: Answer, customer_id: str, now: datetime) -> Row | None:
    """The score of one customer as of now, or None when nothing is stored about them."""
    rows = answer.rows("SELECT * FROM retention_risk WHERE customer_id = %(customer)s", {"customer": customer_id})
    return _row(_as_of(rows[0], now)) if rows else None


def riskiest(
    answer: Answer,
    now: datetime,
    limit: int = 0,
    band: str | None = None,
    filters: Mapping[str, object] = NOTHING,
    after: Place | None = None,
) -> Iterator[Row]:
    """The customers with the highest risk as of now, so many or with 0 all of them; with `after` those behind a place.

    Rows that are due are scored anew, whatever band they had; of the others the stored order holds.
    """
    where = matching(filters)
    due = answer.stream(
        f"SELECT * FROM retention_risk WHERE next_change_at <= %(now)s AND {where}", {**filters, "now": now}
    )
    scored = (row for row in (_as_of(row, now) for row in due) if band in (None, row["band"]))
    if after is not None:
        place = _rank(dict(zip(("band", "probability", "customer_id"), after, strict=True)))
        scored = (row for row in scored if _rank(row) < place)
    anew = nlargest(limit, scored, key=_rank) if limit else sorted(scored, key=_rank, reverse=True)
    bands: tuple[str, ...] = BANDS if band is None else (band,)
    if after is not None:
        bands = tuple(one for one in bands if BANDS.index(one) >= BANDS.index(after[0]))
    stored = (row for one in bands for row in _stored(answer, now, limit, one, filters, after))
    for row in islice(merge(anew, stored, key=_rank, reverse=True), limit or None):
        yield _row(row)


def _stored(
    answer: Answer, now: datetime, limit: int, band: str, filters: Mapping[str, object], after: Place | None
) -> Iterator[Row]:
    # In the order of the indexes, which end with (band, probability, customer_id) and are read backwards.
    _, probability, customer = after if after is not None and after[0] == band else ("", None, None)
    behind = "true"
    if probability is not None:
        behind = "(probability, customer_id) < (%(probability)s, %(customer)s)"
    elif customer is not None:  # of a band without probabilities
        behind = "customer_id < %(customer)s"
    query = f"""SELECT * FROM retention_risk WHERE band = %(band)s AND {matching(filters)} AND {behind}
        AND (next_change_at IS NULL OR next_change_at > %(now)s)
        ORDER BY probability DESC, customer_id DESC LIMIT %(limit)s"""
    values = {**filters, "band": band, "now": now, "probability": probability, "customer": customer}
    return answer.page(query, values, limit)


def _rank(row: Mapping[str, Any]) -> tuple[int, float, str]:
    return -BANDS.index(row["band"]), row["probability"] or 0.0, row["customer_id"]


def _as_of(row: Row, now: datetime) -> Row:
    change = row["next_change_at"]
    return row if change is None or change > now else dict(sweep(row, now))


def _row(row: Row) -> Row:
    names = ("customer_id", "band", "probability", "logit", "reasons", "scored_at", "next_change_at")
    logit = None if row["logit"] is None else float(row["logit"])
    dimensions = {name: row[name] for name in ("branch", "segment", "project_id", "manager_id")}
    return {**{name: row[name] for name in names}, "logit": logit, **dimensions, "position": row["position"]}
