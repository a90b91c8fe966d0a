"""Why a score or a deadline was what it was at a moment: reasons, the rules that were in force, and the events behind.

Both answer from what counted at that moment and from nothing that is kept of them: a risk from the replayed read models
of one customer, a case from its own stream.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import psycopg

from domain import clocks
from domain.complaint.events import ComplaintClockSet
from domain.complaint.standing import Standing, explanations, standing
from domain.values import Recorded
from infra.errors import KehuError
from infra.postgres import risk_models
from infra.postgres.past import Moment
from infra.postgres.questions import cases
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.customers import risk_events_of
from infra.postgres.questions.forgotten import WasErased
from infra.postgres.questions.forgotten import told_of as told_of_erasure
from infra.postgres.replayed import told_of
from infra.whole_customer import whole_of
from projections.retention_risk.windows import WINDOWS
from projections.service_queues.rules import RULES


class NoScore(KehuError):
    """Nothing was stored about this customer at that time. Ask for a later one, or check the id."""


def risk(answer: Answer, customer_id: str, at: datetime) -> Row:
    """The retention risk of a customer, of one who was merged that of all ids that were one: reasons with their events.

    `answer` is about the read models that know a customer (ABOUT_ONE) as of that moment. The logit is the base of the
    model plus the points of the reasons. Raises NoScore, WasErased.
    """
    whole = whole_of(answer, customer_id, at)
    shown, erased = whole.scores["retention"], whole.customer["erased"]
    if shown is None and erased:
        raise WasErased("; ".join(map(told_of_erasure, erased)))
    if shown is None:
        raise NoScore(customer_id)
    gone = {one["customer_id"] for one in erased}
    events = risk_events_of(answer, [one for one in whole.group.members if one not in gone], at)
    said = defaultdict(list)
    for event in events:
        said[f"{event.meta.source}#{event.meta.event_id}"].append(told_of(event))
    names = ("customer_id", "band", "probability", "logit", "score", "scored_at", "next_change_at")
    return {
        **{name: shown[name] for name in names},
        "ids": list(whole.group.members),
        "at": at,
        "position": answer.fresh[0].position,
        "model": _model(answer, shown["model"], at),
        "windows": _rule(WINDOWS.at(shown["scored_at"])),
        "reasons": [
            {**reason, "events": [one for source in reason["sources"] for one in said[source]]}
            for reason in shown["reasons"] or ()
        ],
        "events": len(events),
        "last_event": told_of(max(events, key=lambda event: (event.meta.occurred_at, event.position))),
    }


def _model(answer: Answer, model_id: str, at: datetime) -> Row:
    """What scored, and since when it was the champion; before any promotion, that of the release."""
    found = answer.ask(lambda conn: risk_models.model(conn, model_id))
    promoted = next(
        (one for one in answer.ask(risk_models.promotions) if one["model"] == model_id and one["promoted_at"] <= at),
        None,
    )
    return {
        "id": found.id,
        "name": found.name,
        **_rule(found),
        "kind": found.kind,
        "base": found.base / 1000,
        "bands": {"medium": found.bands.medium, "high": found.bands.high},
        "promoted_at": promoted["promoted_at"] if promoted else None,
        "promoted_by": promoted["promoted_by"] if promoted else None,
    }


def _rule(rule: Any) -> Row:
    return {"version": rule.version, "effective_from": rule.effective_from, "source": rule.source}


def case_at(
    conn: "psycopg.Connection[Row]", case_id: str, moment: Moment
) -> tuple[Standing, dict[clocks.Which, clocks.Explanation], Sequence[Recorded]]:
    """A case as it stood at a moment, why its clocks were due then, and the events that counted. Raises UnknownCase."""
    events = cases.events_of(conn, case_id, moment)
    at = moment.happened_by
    shown, state = standing(events, at, RULES.at(at).at_risk_share)
    return shown, dict(explanations(state, at)), events


def case(conn: "psycopg.Connection[Row]", case_id: str, moment: Moment) -> Row:
    """A case with the explanation of each clock and the event that set its deadline, and all events that counted.

    Raises UnknownCase.
    """
    shown, why, events = case_at(conn, case_id, moment)
    set_by = {one.event.clock: one for one in events if isinstance(one.event, ComplaintClockSet)}
    told = [
        {**clock(which, one), "set_by": told_of(set_by[which]) if which in set_by else None}
        for which, one in why.items()
    ]
    rule = {**_rule(RULES.at(moment.happened_by)), "at_risk_share": RULES.at(moment.happened_by).at_risk_share}
    return {
        **asdict(shown),
        "at": moment.happened_by,
        "position": max(event.position or 0 for event in events),
        "explanations": told,
        "queue_rule": rule,
        "events": [told_of(event) for event in events],
    }


def clock(which: clocks.Which, one: clocks.Explanation) -> Row:
    """An explanation as data: amounts are days, of business hours seconds."""
    return {
        "clock": which,
        "preset": one.preset.name,
        "preset_version": one.preset.version,
        "source": one.preset.source,
        "calendar": one.calendar.name,
        "calendar_version": one.calendar.version,
        "zone": one.calendar.zone,
        "count": one.count,
        "kind": one.kind,
        "extensions": one.extensions,
        "cycles_end": one.cycles_end,
        "since": one.since,
        "starts_at": one.start,
        "due_at": one.due,
        "stretches": [asdict(stretch) for stretch in one.stretches],
    }
