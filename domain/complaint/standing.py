"""A case as it stands at a moment, for people: both clocks side by side, and all that moved them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from domain import clocks
from domain.clocks.judgement import begin_again, set_deadline, verdicts
from domain.complaint.deadlines import pinned_preset
from domain.complaint.events import (
    ComplaintAcknowledged,
    ComplaintClockSet,
    ComplaintDeadlineMissed,
    ComplaintEscalated,
    ComplaintExtended,
    ComplaintFactsAdded,
    ComplaintOpened,
    ComplaintPolicyChanged,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintWithdrawn,
)
from domain.complaint.state import OVER, Clock, Complaint, evolve
from domain.values import Recorded

ClockState = Literal["in time", "at risk", "overdue", "stopped", "met", "missed"]


@dataclass(frozen=True, slots=True)
class ClockStanding:
    """One clock at a moment. `elapsed` is the share of the allowed time that is gone (see `clocks.elapsed_fraction`).

    The state of a clock whose case is over is met or missed (see `clocks.judgement`). Of one that is stopped `due_at`
    and `at_risk_at` are None, and `due_if_resumed` is the deadline that it would have if work went on now. `restarted`
    tells that it starts with new facts.
    """

    clock: clocks.Which
    preset: str
    preset_version: int
    basis: str
    starts_at: datetime
    restarted: bool
    due_at: datetime | None
    at_risk_at: datetime | None
    due_if_resumed: datetime | None
    elapsed: float
    state: ClockState
    acknowledge_by: datetime | None
    acknowledged: Literal["in time", "late", "due", "overdue"] | None
    """None when the preset sets no time for it."""


@dataclass(slots=True)
class Standing:
    """A case at a moment, from the events that count by then."""

    case: str
    customer_id: str
    case_type: str
    status: str
    queue: str
    owner: str | None
    severity: int
    vulnerable: bool
    related_to: str | None
    same_matter: bool
    opened_at: datetime
    received_at: datetime
    acknowledged_at: datetime | None = None
    decided_at: datetime | None = None
    outcome: str | None = None
    reopened: int = 0
    clocks: list[ClockStanding] = field(default_factory=list)
    pauses: list[dict[str, Any]] = field(default_factory=list)
    """From, to (None while it lasts), reason, and which clocks it stops."""
    extensions: list[dict[str, Any]] = field(default_factory=list)
    escalations: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    """New facts on the open case, and which clocks they started anew."""
    missed: list[dict[str, Any]] = field(default_factory=list)
    policies: list[dict[str, Any]] = field(default_factory=list)
    windows: dict[str, datetime] = field(default_factory=dict)
    """What the customer may do after the decision, and until when."""


def standing(events: Sequence[Recorded], now: datetime, at_risk: float) -> tuple[Standing, Complaint]:
    """The case of a stream whose events are given, with its state; `at_risk` is the share from which a clock is so.

    Raises ValueError when the first event does not open a case.
    """
    opening = events[0].event if events else None
    if not isinstance(opening, ComplaintOpened):
        raise ValueError("the first event of a case opens it")
    state: Complaint | None = None
    judged: dict[str, Any] = {}
    shown = Standing(
        case=opening.complaint_id,
        customer_id=events[0].meta.customer_id,
        case_type=opening.case_type,
        status="open",
        queue=opening.queue,
        owner=None,
        severity=opening.severity,
        vulnerable=opening.vulnerable,
        related_to=opening.related_to,
        same_matter=opening.same_matter,
        opened_at=events[0].meta.occurred_at,
        received_at=opening.received_at or events[0].meta.occurred_at,
    )
    for recorded in events:
        state = evolve(state, recorded.event, recorded.meta)
        _note(shown, recorded)
        judge(judged, recorded)
    assert state is not None
    shown.status, shown.queue, shown.owner = state.status, state.queue, state.owner
    shown.outcome, shown.reopened = state.outcome, state.reopened
    running: list[tuple[clocks.Which, Clock | None]] = [("statutory", state.statutory), ("service", state.service)]
    for which, clock in running:
        if clock is not None:
            shown.clocks.append(_clock(shown, state, which, clock, now, at_risk, judged))
    for begin, end, reason in state.pauses:
        stops = [which for which, clock in running if clock is not None and reason in pinned_preset(clock).pauses]
        shown.pauses.append({"from": begin, "to": end, "reason": reason, "stops": stops})
    if shown.decided_at is not None and state.outcome is not None and state.statutory is not None:
        shown.windows = dict(clocks.window_after_decision(pinned_preset(state.statutory), shown.decided_at))
    return shown, state


def explanations(state: Complaint, now: datetime) -> Mapping[clocks.Which, clocks.Explanation]:
    """Why each clock of a case is due when it is; of one that is stopped, as if work went on now."""
    found: dict[clocks.Which, clocks.Explanation] = {}
    if (clock := state.statutory) is not None:
        found["statutory"] = _explained(state, clock, state.extensions, now)
    if (clock := state.service) is not None:
        found["service"] = _explained(state, clock, 0, now)
    return found


def _explained(state: Complaint, clock: Clock, extensions: int, now: datetime) -> clocks.Explanation:
    return clocks.explain_due(
        pinned_preset(clock).for_severity(state.severity),
        clock.starts_at,
        extensions=extensions,
        pauses=state.pauses,
        as_of=now,
        cycles_end=state.cycles_end_on,
        restarted=clock.restarted,
    )


def judge(judged: dict[str, Any], recorded: Recorded) -> None:
    """Keep what the verdicts of a case need, under the names of `domain.clocks.judgement`."""
    match recorded.event:
        case ComplaintClockSet() as said:
            set_deadline(judged, said.clock, said.preset, said.due_at, recorded.meta.occurred_at)
        case ComplaintReopened():
            begin_again(judged)


def _clock(
    shown: Standing,
    state: Complaint,
    which: clocks.Which,
    clock: Clock,
    now: datetime,
    at_risk: float,
    judged: dict[str, Any],
) -> ClockStanding:
    preset = pinned_preset(clock)
    over_at = shown.decided_at if state.status in OVER else None
    extensions = state.extensions if which == "statutory" else 0
    expected = clock.due_at or _explained(state, clock, extensions, now).due
    elapsed = clocks.elapsed_fraction(
        clock.starts_at, expected, over_at or now, preset, extensions=extensions, pauses=state.pauses
    )
    risky_at = None
    if clock.due_at is not None:
        risky_at = clocks.gone_at(
            at_risk, clock.starts_at, clock.due_at, preset, extensions=extensions, pauses=state.pauses
        )
    acknowledge_by = clocks.ack_due(preset, clock.starts_at)
    acknowledged: Literal["in time", "late", "due", "overdue"] | None = None
    if acknowledge_by is not None:
        told_at = shown.acknowledged_at or shown.decided_at  # an answer acknowledges, too
        if told_at is not None:
            acknowledged = "in time" if told_at <= acknowledge_by else "late"
        else:
            acknowledged = "due" if now <= acknowledge_by else "overdue"
    return ClockStanding(
        clock=which,
        preset=clock.preset,
        preset_version=clock.version,
        basis=preset.basis,
        starts_at=clock.starts_at,
        restarted=clock.restarted,
        due_at=clock.due_at,
        at_risk_at=risky_at,
        due_if_resumed=expected if clock.due_at is None else None,
        elapsed=elapsed,
        state=_ended(judged, which, over_at) if over_at is not None else _running(clock.due_at, risky_at, now),
        acknowledge_by=acknowledge_by,
        acknowledged=acknowledged,
    )


def _ended(judged: dict[str, Any], which: clocks.Which, over_at: datetime) -> ClockState:
    return next((one.word for one in verdicts(judged, over_at) if one.clock == which), "met")


def _running(due_at: datetime | None, risky_at: datetime | None, now: datetime) -> ClockState:
    if due_at is None or risky_at is None:
        return "stopped"
    if due_at < now:
        return "overdue"
    return "at risk" if risky_at <= now else "in time"


def _note(shown: Standing, recorded: Recorded) -> None:
    at, event = recorded.meta.occurred_at, recorded.event
    told: dict[str, Any]
    match event:
        case ComplaintAcknowledged():
            shown.acknowledged_at = at
        case ComplaintExtended():
            told = {"actor": event.actor, "reason": event.reason, "provided": list(event.provided)}
            shown.extensions.append({"at": at, **told, "approval_id": event.approval_id, "notice_id": event.notice_id})
        case ComplaintEscalated():
            shown.escalations.append({"at": at, "reason": event.reason, "to_queue": event.to_queue})
        case ComplaintFactsAdded():
            shown.facts.append({"at": at, "by": event.by, "description": event.description, "restarted": []})
        case ComplaintClockSet():
            if shown.facts and event.starts_at == shown.facts[-1]["at"] and event.because == "facts-added":
                shown.facts[-1]["restarted"].append(event.clock)
        case ComplaintDeadlineMissed():
            told = {"clock": event.clock, "preset": event.preset, "preset_version": event.preset_version}
            shown.missed.append({"due_at": event.due_at, **told, "source": recorded.meta.source})
        case ComplaintPolicyChanged():
            told = {"actor": event.actor, "reason": event.reason}
            shown.policies.append({"at": at, **told, "regime": event.regime, "service_policy": event.service_policy})
        case ComplaintResolved() | ComplaintWithdrawn():
            shown.decided_at = at
        case ComplaintReopened():
            shown.decided_at = None
