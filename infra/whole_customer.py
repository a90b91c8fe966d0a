"""One customer as a whole: who it is, the scores and what is open, of all ids that are one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from consumers.refolding import as_one, refolded
from infra.postgres.questions import customers, profiles
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.customers import as_shown, open_cases_of, open_contacts_of, risk_events_of, scorer_at
from infra.postgres.questions.forgotten import erasures_of
from infra.postgres.questions.identity import conflicts, merges_around
from projections.customers.aliases import Group
from projections.customers.unified import unified
from projections.retention_risk import RETENTION_RISK, RISK, Scorer


@dataclass(frozen=True, slots=True)
class Whole:
    """What is known of one customer, beside what happened."""

    group: Group
    customer: Row
    profile: Mapping[str, Row]
    consents: Sequence[Row]
    projects: Sequence[Row]
    scores: Row
    cases: Sequence[Row]
    contacts: Sequence[Row]

    def about(self) -> Row:
        """As JSON has it."""
        names = ("customer", "profile", "consents", "projects", "scores", "cases", "contacts")
        return {name: getattr(self, name) for name in names}


def whole_of(answer: Answer, customer_id: str, now: datetime) -> Whole:
    """Everything but what happened, of all ids that are one with this customer; no score of who was forgotten."""
    group, merges = merges_around(answer, customer_id)
    ids = group.members
    held = answer.about(ids, {**profiles.HELD, **customers.HELD})
    cases, contacts = open_cases_of(held, now), open_contacts_of(held, now)
    scorer = scorer_at(answer, now)
    erased = erasures_of(answer, ids)
    gone = {row["customer_id"] for row in erased}
    living = [one for one in ids if one not in gone]
    risks = {row["customer_id"]: as_shown(row, now, scorer) for row in held[RISK] if row["customer_id"] in living}
    told: Row = {"customer_id": customer_id, "survivor": group.survivor, "ids": list(ids), "merges": merges}
    told["restrictions"], told["erased"] = profiles.restrictions(held), erased
    told["conflicts"] = conflicts(answer, ids) if group.merged else []
    risk = _risk_as_one(answer, group, living, now, scorer, risks) if group.merged else risks.get(customer_id)
    scores = {
        "retention": risk,
        "retention_of_each": [risks[one] for one in ids if one in risks] if group.merged else [],
        "satisfaction": profiles.answers(held),
        "service": _service(cases, contacts),
    }
    return Whole(
        group,
        told,
        unified(group, profiles.known_of(held, ids)),
        profiles.consents(held, now),
        profiles.projects(held),
        scores,
        cases,
        contacts,
    )


def _risk_as_one(
    answer: Answer, group: Group, living: Sequence[str], now: datetime, scorer: Scorer, each: Mapping[str, Row]
) -> Row | None:
    """The risk of customers who are one: their events folded again in the order of the log, as those of one."""
    if not living:
        return None
    closed = bool(each) and all(risk["band"] == "closed" for risk in each.values())
    events = as_one(risk_events_of(answer, living, now), group.survivor, closed=closed)
    rows = refolded(RETENTION_RISK, events)
    return as_shown(rows[0], now, scorer) if rows else None


def _service(cases: Sequence[Row], contacts: Sequence[Row]) -> Row:
    """What is open with a customer, counted."""
    states = [case["state"] for case in cases]
    dues = [case[name] for case in cases for name in ("statutory_due", "service_due") if case[name] is not None]
    return {
        "open_cases": len(cases),
        "overdue": states.count("overdue"),
        "at_risk": states.count("at risk"),
        "next_due": min(dues, default=None),
        "contacts_waiting": sum(contact["status"] == "waiting" for contact in contacts),
        "contacts_active": sum(contact["status"] != "waiting" for contact in contacts),
    }
