"""Customers: who they are as of now, what set each field, consents, projects, last answers, and who is one with whom.

Every row stays under the id that its events came with, also when the customer is merged: who is one with whom is told
when it is asked (`projections.customers.aliases`), so that a merge can be undone without a trace.
"""

from collections.abc import Callable
from typing import Any

from domain.values import Recorded
from projections.customers.steps import STEPS, keys_of
from projections.customers.tables import ALIASES, ANSWERS, CONSENTS, PERSONAL, PROFILES, PROJECTS, RESTRICTIONS
from projections.declare import Key, Projection, Rows, Table

__all__ = ["ALIASES", "ANSWERS", "CONSENTS", "CUSTOMERS", "PERSONAL", "PROFILES", "PROJECTS", "RESTRICTIONS"]

NAMING_PROJECTS = frozenset(
    {
        *("customer.registered", "customer.profile-changed"),
        *("contact.queued", "complaint.opened", "survey.invited", "transaction.posted"),
    }
)
"""Events that may name a project. Those that are derived from them name the same."""


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The rows that an event certainly loads; none for the many that name no project."""
    data: Any = event.event
    customer = event.meta.customer_id
    if event.name == "survey.scored":
        return ((ANSWERS, (customer, data.metric)),)
    found = keys_of(event) if event.name in STEPS else ()
    if event.name in NAMING_PROJECTS and data.project_id is not None:
        return (*found, (PROJECTS, (customer, data.project_id)))
    return found


def _seen_in_project(rows: Rows, event: Recorded, project: str) -> None:
    key, at = (event.meta.customer_id, project), event.meta.occurred_at
    row = rows.edit(PROJECTS, key)
    if row is None:
        rows.put(PROJECTS, key, {"first_at": at, "last_at": at, "events": 1})
        return
    row["first_at"], row["last_at"] = min(at, row["first_at"]), max(at, row["last_at"])
    row["events"] += 1


def _scored(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    meta = event.meta
    key = (meta.customer_id, data.metric)
    row = rows.get(ANSWERS, key)
    if row is None or meta.occurred_at >= row["answered_at"]:
        said = {name: getattr(data, name) for name in ("score", "scale", "invitation_id", "channel")}
        answered = {"answered_at": meta.occurred_at, "source": meta.source, "event_id": meta.event_id}
        rows.put(ANSWERS, key, {**said, **answered})


def fold(rows: Rows, event: Recorded) -> None:
    """Take one event into the rows of its customer."""
    name = event.name
    if name == "survey.scored":
        _scored(rows, event)
        return
    step: Callable[[Rows, Recorded], None] | None = STEPS.get(name)
    if step is not None:
        step(rows, event)
    if name in NAMING_PROJECTS:
        data: Any = event.event
        if data.project_id is not None:
            _seen_in_project(rows, event, data.project_id)


CUSTOMERS = Projection(
    name="customers",
    version=3,
    tables=(PROFILES, PERSONAL, CONSENTS, PROJECTS, ANSWERS, ALIASES, RESTRICTIONS),
    handles=frozenset(STEPS) | NAMING_PROJECTS | {"survey.scored"},
    keys=keys,
    fold=fold,
    personal=frozenset({"customer.registered", "customer.profile-changed", "customer.merged", "customer.unmerged"}),
)
