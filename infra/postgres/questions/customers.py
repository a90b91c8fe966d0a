"""What is told of customers: who is likely to leave, what is open with them, and everything that happened."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import merge, nlargest
from itertools import islice
from typing import Any

from domain import registry
from domain.values import Recorded
from infra.postgres.mapper import EVENT_COLUMNS, to_recorded
from infra.postgres.querying import matching
from infra.postgres.questions.answer import Answer, Held, Row
from infra.postgres.questions.forgotten import LIVING
from infra.postgres.questions.queues import as_case
from infra.postgres.risk_models import champion_scorer
from infra.spilled import descending
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.customers import CUSTOMERS
from projections.declare import Table
from projections.measures.times import seconds_between
from projections.retention_risk import RETENTION_RISK, RISK, Scored, Scorer, reason_as_json, swept
from projections.service_queues import ITEMS, SERVICE_QUEUES

ABOUT_ONE = (CUSTOMERS, CUSTOMER_TIMELINE, RETENTION_RISK, SERVICE_QUEUES)
"""The read models that know a customer."""
HELD: Mapping[Table, str] = {RISK: "true", ITEMS: "open"}
"""What must be held of customers, and with which condition, to tell their risk and what is open."""
LAST = datetime.max.replace(tzinfo=UTC)
BANDS = ("high", "medium", "low", "unknown", "closed")
"""In the order in which customers are listed; the first three are ranges of the probability."""
NOTHING: Mapping[str, object] = {}
EVENTS_ABOUT = f"""SELECT {EVENT_COLUMNS} FROM (
        SELECT stream FROM customer_timeline WHERE customer_id = ANY(%(ids)s) UNION SELECT unnest(%(own)s::text[])) own
    JOIN kehu.stored_events ON originator_id = own.stream WHERE customer_id = ANY(%(ids)s)"""
"""The events about the customers `ids`, in the streams that the timeline names and in their `own`, where it may not."""
Place = tuple[str, float | None, str]
"""Where a customer stands among the others: band, probability and id."""


def timeline(
    answer: Answer,
    ids: Sequence[str],
    limit: int = 0,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    kind: str | None = None,
    channel: str | None = None,
    before: tuple[datetime, int] | None = None,
) -> Iterator[Row]:
    """So many things that happened with these customers, or with 0 all of them, newest first; `until` is not included.

    A channel chooses whole contacts, cases and surveys that came by it, with all that followed. With `before` only
    what stands behind the one at this time and position of the log.
    """
    where = "customer_id = %(customer)s"
    if since is not None:
        where += " AND occurred_at >= %(since)s"
    if until is not None:
        where += " AND occurred_at < %(until)s"
    if kind is not None:
        where += " AND (type = %(kind)s OR starts_with(type, %(kind)s || '.'))"
    if before is not None:
        where += " AND (occurred_at, log_position) < (%(before)s, %(position)s)"
    if channel is not None:
        where += """ AND (channel = %(channel)s OR (channel IS NULL AND stream IN (SELECT s.stream
            FROM customer_timeline s WHERE s.customer_id = %(customer)s AND s.channel = %(channel)s
            AND NOT starts_with(s.type, 'customer.'))))"""
    query = f"""SELECT * FROM customer_timeline WHERE {where}
        ORDER BY occurred_at DESC, log_position DESC LIMIT %(limit)s"""
    at, position = before or (None, None)
    asked = {"since": since, "until": until, "kind": kind, "channel": channel, "before": at, "position": position}
    # Each in the order of the index, so that no more is read than is wanted.
    parts = [answer.page(query, {**asked, "customer": one}, limit) for one in ids]
    if len(parts) == 1:
        return parts[0]
    whole = merge(*parts, key=lambda row: (row["occurred_at"], row["log_position"]), reverse=True)
    return islice(whole, limit or None)


def open_cases_of(held: Held, now: datetime) -> list[Row]:
    """The open cases of customers: the overdue first, then those at risk, then by deadline."""
    cases = (as_case(item, now) for item in held[ITEMS] if item["kind"] == "case")
    return sorted(cases, key=_urgency)


def _urgency(case: Row) -> tuple[int, datetime, str]:
    dues = [due for due in (case["statutory_due"], case["service_due"]) if due is not None]
    order = ("overdue", "at risk", "in time").index(case["state"])
    return order, min(dues, default=LAST), case["case"]


def open_contacts_of(held: Held, now: datetime) -> list[Row]:
    """Contacts of customers that wait or are talked to, the longest waiting first."""
    names = ("queue", "status", "channel", "owner", "opened_at", "waiting_since", "customer_id")
    return [
        {
            "contact": item["item_id"].removeprefix("contact-"),
            **{name: item[name] for name in names},
            "age_seconds": seconds_between(item["opened_at"], now),
        }
        for item in sorted(held[ITEMS], key=lambda item: (item["waiting_since"] or LAST, item["item_id"]))
        if item["kind"] == "contact"
    ]


def events_of(
    answer: Answer, ids: Sequence[str], names: Collection[str] | None = None, upto: int | None = None
) -> list[Recorded]:
    """The events in the log that are about these customers, also derived ones, in its order.

    Of these names only, and up to a position only, where these are given; what is personal is hidden. The timeline
    names the streams: there is no index of the log by customer.
    """
    query = EVENTS_ABOUT
    if names is not None:
        query += " AND topic = ANY(%(topics)s)"
    if upto is not None:
        query += " AND notification_id <= %(upto)s"
    values = {"ids": list(ids), "own": [], "topics": registry.topics(names or ()), "upto": upto}
    rows = answer.rows(f"{query} ORDER BY notification_id", values)
    return [to_recorded(*row.values()) for row in rows]


def risk_events_of(answer: Answer, ids: Sequence[str], at: datetime) -> list[Recorded]:
    """The events that the risk of these customers follows from, in the order of the log.

    Those that had happened by a moment, up to the position that the read model of risks shows.
    """
    [upto] = [one.position for one in answer.fresh if one.projection == RETENTION_RISK.name]
    found = events_of(answer, ids, RETENTION_RISK.handles, upto)
    return [event for event in found if event.meta.occurred_at <= at]


def risk_of(answer: Answer, customer_id: str, now: datetime, other: Scorer | None = None) -> Row | None:
    """The score of one customer as of now, or None when nothing is stored about them.

    With another model also what that says, as `other`.
    """
    rows = answer.rows("SELECT * FROM retention_risk WHERE customer_id = %(customer)s", {"customer": customer_id})
    return as_shown(rows[0], now, scorer_at(answer, now), other) if rows else None


def scorer_at(answer: Answer, now: datetime) -> Scorer:
    """What scores by the model that is the champion at a moment."""
    return answer.ask(lambda conn: champion_scorer(conn, now))


def as_shown(row: Row, now: datetime, scorer: Scorer, other: Scorer | None = None) -> Row:
    """A row of the read model of risks as it is shown: as of now, by the champion and, where given, by another."""
    return _row(_as_of(row, now, scorer), now, other)


def riskiest(
    answer: Answer,
    now: datetime,
    limit: int = 0,
    band: str | None = None,
    filters: Mapping[str, object] = NOTHING,
    other: Scorer | None = None,
    after: Place | None = None,
) -> Iterator[Row]:
    """The customers with the highest risk as of now, so many or with 0 all of them; with `after` those behind a place.

    Nobody who was forgotten is among them, as of an earlier moment neither. Rows that are due are scored anew, whatever
    band they had; of the others the stored order holds.
    """
    where, scorer = matching(filters), scorer_at(answer, now)
    due = answer.stream(
        f"SELECT * FROM retention_risk WHERE next_change_at <= %(now)s AND {where} AND {LIVING}",
        {**filters, "now": now},
    )
    scored = (row for row in (_as_of(row, now, scorer) for row in due) if band in (None, row["band"]))
    if after is not None:
        place = _rank(dict(zip(("band", "probability", "customer_id"), after, strict=True)))
        scored = (row for row in scored if _rank(row) < place)
    anew = nlargest(limit, scored, key=_rank) if limit else descending(scored, _rank)
    bands: tuple[str, ...] = BANDS if band is None else (band,)
    if after is not None:
        bands = tuple(one for one in bands if BANDS.index(one) >= BANDS.index(after[0]))
    stored = (row for one in bands for row in _stored(answer, now, limit, one, filters, after))
    for row in islice(merge(anew, stored, key=_rank, reverse=True), limit or None):
        yield _row(row, now, other)


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
    query = f"""SELECT * FROM retention_risk WHERE band = %(band)s AND {matching(filters)} AND {behind} AND {LIVING}
        AND (next_change_at IS NULL OR next_change_at > %(now)s)
        ORDER BY probability DESC, customer_id DESC LIMIT %(limit)s"""
    values = {**filters, "band": band, "now": now, "probability": probability, "customer": customer}
    return answer.page(query, values, limit)


def _rank(row: Mapping[str, Any]) -> tuple[int, float, str]:
    return -BANDS.index(row["band"]), row["probability"] or 0.0, row["customer_id"]


def _as_of(row: Row, now: datetime, scorer: Scorer) -> Row:
    change = row["next_change_at"]
    return row if change is None or change > now else dict(swept(scorer, row, now))


def _row(row: Row, now: datetime, other: Scorer | None) -> Row:
    names = ("customer_id", "band", "probability", "logit", "score", "reasons", "scored_at", "next_change_at", "model")
    logit = None if row["logit"] is None else float(row["logit"])
    dimensions = {name: row[name] for name in ("branch", "segment", "project_id", "manager_id")}
    told = {**{name: row[name] for name in names}, "logit": logit, **dimensions, "position": row["position"]}
    if other is None:
        return told
    return {**told, "other": as_row(other.score(row["features"], max(now, row["scored_at"])), other)}


def as_row(scored: Scored, scorer: Scorer) -> Row:
    """A score for people and programs."""
    return {
        "model": scorer.model.id,
        "band": scored.band,
        "probability": scored.probability,
        "logit": None if scored.logit is None else float(scored.logit),
        "score": scored.score,
        "reasons": list(map(reason_as_json, scored.reasons)),
    }
