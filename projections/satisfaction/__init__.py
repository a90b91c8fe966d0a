"""Satisfaction: answers counted per day of invitation and dimension, so that any grouping and any window adds up.

Scores are never averaged over groups: a cell keeps how often each score was given, and CSAT, NPS and CES come from the
sum of cells. An invitation has one outcome (answered, partial, declined, bounced or none yet) and one answer at most.
"""

from collections.abc import Callable
from typing import Any

from domain.values import Recorded
from projections.declare import Key, Projection, Rows, Table
from projections.satisfaction.cells import COUNTED, DAILY, OUTCOMES, SCORES, TOTALLED, TOTALS, cell_key, count
from projections.satisfaction.changes import Difference, compare
from projections.satisfaction.summaries import DIMENSIONS, PERIODS, Summary, summarise

__all__ = [
    "COUNTED",
    "DAILY",
    "DIMENSIONS",
    "INVITATIONS",
    "OUTCOMES",
    "PERIODS",
    "SATISFACTION",
    "SCORES",
    "TOTALLED",
    "TOTALS",
    "Difference",
    "Summary",
    "compare",
    "summarise",
]

INVITATIONS = Table(
    name="satisfaction_invitations",
    key={"invitation_id": "text"},
    columns={
        **DAILY.key,
        "outcome": "text",
        "customer_id": "text",
        "about": "text",
        "invited_at": "timestamptz",
        "score": "smallint",
        "previous": "smallint",
        "scored_at": "timestamptz",
    },
)
"""One invitation: where it is counted, and the answer that counts as it was given, on its scale.

`previous` is the score that it replaced. `outcome` is answered, partial, declined, bounced, or '' while there is none.
"""

# An answer beats whatever was reported before it, a finished answer stays finished, and a bounce or a refusal that is
# reported after an answer changes nothing.
RANK = {"": 0, "bounced": 1, "declined": 2, "partial": 3, "answered": 4}


def _invited(rows: Rows, event: Recorded) -> None:
    invited: Any = event.event
    cell = cell_key(invited, event.meta.occurred_at)
    row = {
        **dict(zip(DAILY.key, cell, strict=True)),
        "outcome": "",
        "customer_id": event.meta.customer_id,
        "about": invited.about,
        "invited_at": event.meta.occurred_at,
        **dict.fromkeys(("score", "previous", "scored_at")),
    }
    rows.put(INVITATIONS, (invited.invitation_id,), row)
    count(rows, cell, invited=1)


def _scored(rows: Rows, event: Recorded) -> None:
    scored: Any = event.event
    changes = {SCORES[scored.score]: 1}
    if scored.previous is not None:
        before = SCORES[scored.previous]
        changes[before] = changes.get(before, 0) - 1
    count(rows, cell_key(scored, scored.invited_at), **changes)
    if (invitation := rows.edit(INVITATIONS, (scored.invitation_id,))) is not None:
        invitation.update(score=scored.score, previous=scored.previous, scored_at=event.meta.occurred_at)


def _becomes(rows: Rows, invitation_id: str, outcome: str) -> None:
    invitation = rows.get(INVITATIONS, (invitation_id,))
    if invitation is None or RANK[outcome] <= RANK[invitation["outcome"]]:
        return
    changes = {outcome: 1}
    if before := invitation["outcome"]:
        changes[before] = -1
    count(rows, tuple(invitation[name] for name in DAILY.key), **changes)
    invitation["outcome"] = outcome
    rows.put(INVITATIONS, (invitation_id,), invitation)


def _answered(rows: Rows, event: Recorded) -> None:
    answered: Any = event.event
    _becomes(rows, answered.invitation_id, "partial" if answered.partial else "answered")


def _declined(rows: Rows, event: Recorded) -> None:
    declined: Any = event.event
    _becomes(rows, declined.invitation_id, "declined")


def _bounced(rows: Rows, event: Recorded) -> None:
    bounced: Any = event.event
    _becomes(rows, bounced.invitation_id, "bounced")


FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {
    "survey.invited": _invited,
    "survey.answered": _answered,
    "survey.scored": _scored,
    "survey.declined": _declined,
    "survey.bounced": _bounced,
}


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The invitation."""
    data: Any = event.event
    return ((INVITATIONS, (data.invitation_id,)),)


def fold(rows: Rows, event: Recorded) -> None:
    """Count one event."""
    FOLDS[event.name](rows, event)


SATISFACTION = Projection(
    name="satisfaction",
    version=3,
    tables=(DAILY, INVITATIONS, TOTALS),
    handles=frozenset(FOLDS),
    keys=keys,
    fold=fold,
)
