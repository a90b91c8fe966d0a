"""Retention risk: how likely a customer is to leave, with reasons that add up and name the events behind them.

A customer of whom nothing is known has no score, and neither has one who has left: that is not a risk any more. A row
is scored when events come, at the time of the latest, and again when its `next_change_at` has come; for any other
moment call `score` with the row's features. A score follows from the features, the model and its moment, not from the
scores before, so it is made once for all events of a batch.

The model is data that comes in from outside: `scored_by` gives the projection that scores by it. Features are folded in
the same way whatever the model.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from domain.values import Recorded
from projections.declare import Index, Key, Projection, Row, Rows, Selection, Table
from projections.retention_risk.features import STEPS, forget_old_days, take
from projections.retention_risk.model import COLD_START, RELEASED, Model, NoModel, from_json, to_json
from projections.retention_risk.scorecard import COLD, Reason, Scored, Scorer, points_of, score
from projections.retention_risk.sheet import Features

__all__ = [
    "AT_RISK",
    "COLD",
    "COLD_START",
    "RELEASED",
    "RETENTION_RISK",
    "RISK",
    "Features",
    "Model",
    "NoModel",
    "Reason",
    "Scored",
    "Scorer",
    "alert",
    "from_json",
    "points_of",
    "reason_as_json",
    "score",
    "scored_by",
    "sweep",
    "swept",
    "to_json",
]

RANKED = ("band", "probability", "customer_id")
"""The order in which customers are listed."""

RISK = Table(
    name="retention_risk",
    key={"customer_id": "text"},
    columns={
        "band": "text",
        "probability": "double precision",
        "logit": "numeric(7,3)",
        "score": "integer",
        "reasons": "jsonb",
        "scored_at": "timestamptz",
        "next_change_at": "timestamptz",
        "branch": "text",
        "segment": "text",
        "project_id": "text",
        "manager_id": "text",
        "model": "text",
        "features": "jsonb",
    },
    indexes=tuple(map(Index, (("next_change_at",), RANKED, ("branch", *RANKED), ("manager_id", *RANKED)))),
    followed=True,
)
"""One customer. `band` is low, medium or high, as the model says; or unknown or closed, without a score.

`score` is the logit in scaled points, `model` the id of the model that the row was scored by.
"""

AT_RISK = Table(
    name="retention_risk_alerts",
    key=RISK.key,
    columns={
        name: RISK.columns[name]
        for name in ("probability", "score", "reasons", "model", "branch", "segment", "project_id", "manager_id")
    },
    followed=True,
)
"""One customer whose band is high, with the reasons that raise the risk, the worst first. `position` and `changed_at`
are those of the customer's row in `retention_risk`.
"""

NEW: Row = dict.fromkeys(RISK.columns)
ABOUT_THE_CUSTOMER = frozenset({"customer.registered", "customer.profile-changed"})
NAMES_A_MANAGER = frozenset({"customer.registered", "customer.manager-assigned"})


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The customer."""
    return ((RISK, (event.meta.customer_id,)),)


def fold(rows: Rows, event: Recorded) -> None:
    """Take one event into the features of its customer, to be scored at the time of the event."""
    meta, name = event.meta, event.name
    if name == "customer.erased":
        rows.drop(RISK, (meta.customer_id,))
        return
    data: Any = event.event
    key, occurred_at = (meta.customer_id,), meta.occurred_at
    row = rows.edit(RISK, key)
    if row is None:
        row = {**NEW, "features": {}}
        rows.put(RISK, key, row)
    take(row["features"], event)
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


def finished(scorer: Scorer, row: Row) -> Row:
    """The row scored at its `scored_at`, without what no score needs any more."""
    forget_old_days(row["features"])
    return _scored(scorer, row, row["scored_at"].astimezone(UTC))


def swept(scorer: Scorer, row: Row, now: datetime) -> Row:
    """The row scored at `now`, or at its last moment if that is later."""
    return _scored(scorer, row, max(now, row["scored_at"]))


def _scored(scorer: Scorer, row: Row, at: datetime) -> Row:
    scored = scorer.score(row["features"], at)
    return {
        **row,
        "band": scored.band,
        "probability": scored.probability,
        "logit": scored.logit,
        "score": scored.score,
        "reasons": [reason_as_json(reason) for reason in scored.reasons],
        "scored_at": at,
        "next_change_at": scored.next_change_at,
        "model": scorer.model.id,
    }


def alert(row: Row) -> Row | None:
    """The row of a customer whose band is high, as whoever shall see to it needs it."""
    if row["band"] != "high":
        return None
    picked = {name: row[name] for name in AT_RISK.columns}
    picked["reasons"] = [reason for reason in row["reasons"] if not reason["points"].startswith("-")]
    return picked


def reason_as_json(reason: Reason) -> dict[str, Any]:
    """The reason as a row keeps it."""
    return {
        "code": reason.code,
        "points": str(reason.points),
        "value": reason.value,
        "window": reason.window,
        "sources": list(reason.sources),
    }


@lru_cache(maxsize=8)
def scored_by(document: bytes) -> Projection:
    """The projection that scores by the model in a document. Raises NoModel."""
    scorer = Scorer(from_json(document))
    return replace(RETENTION_RISK, sweep=partial(swept, scorer), finish=partial(finished, scorer))


def sweep(row: Row, now: datetime) -> Row:
    """The row scored at `now` by the scorecard without labels, or at its last moment if that is later."""
    return swept(COLD, row, now)


RETENTION_RISK = Projection(
    name="retention_risk",
    version=5,
    tables=(RISK, AT_RISK),
    handles=frozenset(STEPS) | {"customer.erased"},
    keys=keys,
    fold=fold,
    sweep=sweep,
    finish=partial(finished, COLD),
    selection=Selection(AT_RISK, alert),
    using=scored_by,
)
