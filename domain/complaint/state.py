"""Where a case stands, and how each event moves it on."""

from datetime import date, datetime
from typing import Literal

from msgspec import field
from msgspec.structs import replace

from domain import clocks, registry
from domain.complaint.events import (
    CaseType,
    ComplaintAcknowledged,
    ComplaintAssigned,
    ComplaintClockSet,
    ComplaintDeadlineMissed,
    ComplaintEscalated,
    ComplaintExtended,
    ComplaintFactsAdded,
    ComplaintOpened,
    ComplaintPolicyChanged,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
    Outcome,
)
from domain.values import Event, Meta, Value, fingerprint

Status = Literal["open", "waiting", "resolved", "closed", "withdrawn"]
OVER: frozenset[Status] = frozenset({"resolved", "closed", "withdrawn"})


class Clock(Value):
    """One deadline of a case, under the preset version that it began with; `due_at` is None while it is stopped.

    `restarted` tells that new facts have started it anew.
    """

    preset: str
    version: int
    starts_at: datetime
    due_at: datetime | None
    restarted: bool = False


class Complaint(Value):
    """Where a case stands, and what a later decision needs to know.

    `pauses` are (start, end, reason), the end None while it lasts. `missed` are the deadlines whose passing is on
    record, as (clock, due_at); `cycles_end_on` is a limit of the statutory clock. `said` holds the fingerprint of the
    last fact of each type, to know it again when it is sent twice.
    """

    customer_id: str
    status: Status
    case_type: CaseType
    queue: str
    severity: int
    opened_at: datetime
    statutory: Clock | None = None
    service: Clock | None = None
    extensions: int = 0
    pauses: tuple[clocks.Pause, ...] = ()
    waiting_for: str | None = None
    acknowledged: bool = False
    owner: str | None = None
    outcome: Outcome | None = None
    withdrawn: bool = False
    reopened: int = 0
    missed: tuple[tuple[clocks.Which, datetime], ...] = ()
    about_employee: str | None = None
    cycles_end_on: date | None = None
    said: dict[str, str] = field(default_factory=dict)


def evolve(state: Complaint | None, event: Event, meta: Meta) -> Complaint:
    """The state after an event; never fails on what `decide` returned."""
    if isinstance(event, ComplaintOpened):
        said = {registry.of(event).name: fingerprint(event, meta.occurred_at)}
        return Complaint(
            meta.customer_id,
            "open",
            event.case_type,
            event.queue,
            event.severity,
            meta.occurred_at,
            about_employee=event.about_employee,
            cycles_end_on=event.cycles_end_on,
            said=said,
        )
    assert state is not None
    if isinstance(event, ComplaintClockSet):
        return _with_clock(state, event)
    said = {**state.said, registry.of(event).name: fingerprint(event, meta.occurred_at)}
    match event:
        case ComplaintAcknowledged():
            return replace(state, said=said, acknowledged=True)
        case ComplaintAssigned():
            return replace(state, said=said, owner=event.owner, queue=event.queue or state.queue)
        case ComplaintWaiting():
            pauses = (*_ended(state, meta), (meta.occurred_at, None, event.pause))
            return replace(state, said=said, status="waiting", waiting_for=event.waiting_for, pauses=pauses)
        case ComplaintResumed():
            return replace(state, said=said, status="open", waiting_for=None, pauses=_ended(state, meta))
        case ComplaintEscalated():
            return replace(state, said=said, queue=event.to_queue or state.queue)
        case ComplaintExtended():
            return replace(state, said=said, extensions=state.extensions + 1)
        case ComplaintFactsAdded() | ComplaintPolicyChanged():
            return replace(state, said=said)
        case ComplaintDeadlineMissed():
            return replace(state, said=said, missed=(*state.missed, (event.clock, event.due_at)))
        case ComplaintResolved():
            return replace(
                state,
                said=said,
                status="resolved",
                waiting_for=None,
                pauses=_ended(state, meta),
                outcome=event.outcome,
            )
        case ComplaintReopened():
            return replace(state, said=said, status="open", outcome=None, withdrawn=False, reopened=state.reopened + 1)
        case ComplaintWithdrawn():
            return replace(
                state, said=said, status="withdrawn", waiting_for=None, pauses=_ended(state, meta), withdrawn=True
            )
        case _:
            return replace(state, said=said, status="closed")


def _with_clock(state: Complaint, event: ComplaintClockSet) -> Complaint:
    before = state.statutory if event.clock == "statutory" else state.service
    restarted = before is not None and (before.restarted or before.starts_at != event.starts_at)
    clock = Clock(event.preset, event.preset_version, event.starts_at, event.due_at, restarted)
    if event.clock == "service":
        return replace(state, service=clock)
    begins_anew = state.statutory is None or (state.statutory.preset, state.statutory.starts_at) != (
        clock.preset,
        clock.starts_at,
    )
    return replace(state, statutory=clock, extensions=0 if begins_anew else state.extensions)


def _ended(state: Complaint, meta: Meta) -> tuple[clocks.Pause, ...]:
    """The pauses, none of them lasting."""
    if state.status != "waiting":
        return state.pauses
    start, _, reason = state.pauses[-1]
    return (*state.pauses[:-1], (start, meta.occurred_at, reason))
