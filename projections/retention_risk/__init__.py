"""Retention risk: how likely a customer is to leave, with reasons that add up and name the events behind them.

A customer of whom nothing is known has no score, and neither has one who has left: that is not a risk any more. A row
is scored when events come, at the time of the latest, and again when its `next_change_at` has come; for any other
moment call `score` with the row's features. A score follows from the features and its moment, not from the scores
before, so it is made once for all events of a batch.
"""

from datetime import UTC, datetime
from typing import Any

from domain.values import Recorded
from projections.declare import Index, Key, Projection, Row, Rows, Table
from projections.retention_risk.features import STEPS, forget_old_days
from projections.retention_risk.scorecard import BASE, Features, Reason, Scored, score, second_of

__all__ = ["BASE", "RETENTION_RISK", "RISK", "Features", "Reason", "Scored", "score", "sweep"]

RANKED = ("band", "probability", "customer_id")
"""The order in which customers are listed."""

RISK = Table(
    name="retention_risk",
    key={"customer_id": "text"},
    columns={
        "band": "text",
        "probability": "double precision",
        "logit": "numeric(4,1)",
        "reasons": "jsonb",
        "scored_at": "timestamptz",
        "next_change_at": "timestamptz",
        "branch": "text",
        "segment": "text",
        "project_id": "text",
        "manager_id": "text",
        "features": "jsonb",
    },
    indexes=tuple(map(Index, (("next_change_at",), RANKED, ("branch", *RANKED), ("manager_id", *RANKED)))),
    followed=True,
)
"""One customer. `band` is low (below 10 %), medium (below 30 %) or high; or unknown or closed, without a score."""

NEW: Row = dict.fromkeys(RISK.columns)
ABOUT_THE_CUSTOMER = frozenset({"customer.registered", "customer.profile-changed"})
NAMES_A_MANAGER = frozenset({"customer.registered", "customer.manager-assigned"})


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The customer."""
    return ((RISK, (event.meta.customer_id,)),)


def fold(rows: Rows, event: Recorded) -> None:
    """Take one event into the features of its customer, to be scored at the time of the event."""
    meta, name = event.meta, event.name
    data: Any = event.event
    key, occurred_at = (meta.customer_id,), meta.occurred_at
    row = rows.edit(RISK, key)
    if row is None:
        row = {**NEW, "features": {}}
        rows.put(RISK, key, row)
    at, features = second_of(occurred_at), row["features"]
    last = features.get("at")
    if last is None or at > last:
        features["at"] = at
    STEPS[name](features, data, at, f"{meta.source}#{meta.event_id}")
    if data.has_dimensions:
        # Where nobody is registered, the first event that says so names the branch; a registration knows better.
        better = name in ABOUT_THE_CUSTOMER
        if data.branch is not None and (better or row["branch"] is None):
            row["branch"] = data.branch
        if data.segment is not None and (better or row["segment"] is None):
            row["segment"] = data.segment
        if data.project_id is not None and (better or row["project_id"] is None):
            row["project_id"] = data.project_id
    if name in NAMES_A_MANAGER:
        row["manager_id"] = data.manager_id or row["manager_id"]
    if row["scored_at"] is None or occurred_at > row["scored_at"]:
        row["scored_at"] = occurred_at


def finish(row: Row) -> Row:
    """The row scored at its `scored_at`, without what no score needs any more."""
    forget_old_days(row["features"])
    return _scored(row, row["scored_at"].astimezone(UTC))


def sweep(row: Row, now: datetime) -> Row:
    """The row scored at `now`, or at its last moment if that is later."""
    return _scored(row, max(now, row["scored_at"]))


def _scored(row: Row, at: datetime) -> Row:
    scored = score(row["features"], at)
    return {
        **row,
        "band": scored.band,
        "probability": scored.probability,
        "logit": scored.logit,
        "reasons": [_as_json(reason) for reason in scored.reasons],
        "scored_at": at,
        "next_change_at": scored.next_change_at,
    }


def _as_json(reason: Reason) -> dict[str, Any]:
    return {
        "code": reason.code,
        "points": str(reason.points),
        "value": reason.value,
        "window": reason.window,
        "sources": list(reason.sources),
    }


RETENTION_RISK = Projection(
    name="retention_risk",
    version=1,
    tables=(RISK,),
    handles=frozenset(STEPS),
    keys=keys,
    fold=fold,
    sweep=sweep,
    finish=finish,
)
