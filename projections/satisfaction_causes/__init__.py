"""What customers went through before they answered a survey: reopened, overdue, handed over, waited.

A survey asks about one contact or case, or about none: then everything counts that happened to the customer in the days
of the rules (domain/rules/causes.toml) before the answer. What is stored after the answer is not seen any more, even if
it happened before; an answer that is changed is looked at again.
"""

from collections.abc import Callable
from typing import Any

from domain.values import Recorded
from projections.declare import Key, Projection, Row, Rows, Table
from projections.measures.times import day_of
from projections.satisfaction_causes.experiences import EXPERIENCES, STEPS, met
from projections.satisfaction_causes.rules import RULES, CauseRule, is_low
from projections.satisfaction_causes.summaries import CAUSES, Cause, causes

__all__ = ["ANSWERS", "CAUSES", "EXPERIENCES", "RULES", "SATISFACTION_CAUSES", "Cause", "CauseRule", "causes", "is_low"]

ANSWERS = Table(
    name="satisfaction_causes",
    key={"invitation_id": "text"},
    columns={
        "metric": "text",
        "scale": "smallint",
        "day": "date",
        **dict.fromkeys(("channel", "branch", "product", "segment", "project_id", "owner", "about"), "text"),
        "score": "smallint",
        "low": "boolean",
        "reopened": "boolean",
        "overdue": "boolean",
        "transferred": "boolean",
        "waited": "integer",
    },
)
"""One invitation, and of one that was answered what came before. `waited` are the most seconds that the customer waited
for an agent, null where none was waited for. `low` and the rest are null until there is an answer.
"""


def _invited(rows: Rows, event: Recorded) -> None:
    invited: Any = event.event
    row: Row = dict.fromkeys(ANSWERS.columns)
    row |= {name: getattr(invited, name) for name in ("metric", "scale", "channel", "owner", "about")}
    row |= {name: getattr(invited, name) for name in ("branch", "product", "segment", "project_id")}
    row["day"] = day_of(event.meta.occurred_at)
    rows.put(ANSWERS, (invited.invitation_id,), row)


def _scored(rows: Rows, event: Recorded) -> None:
    scored: Any = event.event
    row = rows.edit(ANSWERS, (scored.invitation_id,))
    if row is None:
        return
    experiences = rows.get(EXPERIENCES, (event.meta.customer_id,))
    at = event.meta.occurred_at
    row.update(met(experiences["recent"] if experiences else {}, row["about"], at))
    row.update(score=scored.score, low=is_low(scored.metric, scored.scale, scored.score, RULES.at(at)))


FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {
    "survey.invited": _invited,
    "survey.scored": _scored,
    **STEPS,
}


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The invitation, or the customer; an answer needs both."""
    data: Any = event.event
    customer = (EXPERIENCES, (event.meta.customer_id,))
    if event.name == "survey.invited":
        return ((ANSWERS, (data.invitation_id,)),)
    return (customer, (ANSWERS, (data.invitation_id,))) if event.name == "survey.scored" else (customer,)


def fold(rows: Rows, event: Recorded) -> None:
    """Remember what happens to a customer, and keep it with each answer."""
    FOLDS[event.name](rows, event)


SATISFACTION_CAUSES = Projection(
    name="satisfaction_causes",
    version=2,
    tables=(ANSWERS, EXPERIENCES),
    handles=frozenset(FOLDS),
    keys=keys,
    fold=fold,
)
