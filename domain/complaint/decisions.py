"""What a fact means for a case: one decision for each type of fact, and the table of them."""

from collections.abc import Callable
from typing import Any

from domain import clocks, registry
from domain.complaint.deadlines import (
    after_miss,
    changed_policy,
    clock_set,
    moved_clocks,
    opening_clocks,
    passed_deadlines,
    pinned_preset,
    restarted_clocks,
    restarts,
)
from domain.complaint.events import (
    ComplaintAcknowledged,
    ComplaintAssigned,
    ComplaintClosed,
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
)
from domain.complaint.refusals import (
    ComplaintIsOver,
    ComplaintNotOpenedYet,
    ComplaintNotResolvedYet,
    ComplaintNotWaitingYet,
    ComplaintOpenedDifferently,
    ComplaintResolvedDifferently,
    ExtensionTooLate,
    HandlerIsConcerned,
    OnwardRightsMissing,
    PauseNeedsNotice,
    RedressIsNegative,
    SameMatterNeedsCase,
)
from domain.complaint.state import OVER, Complaint, evolve
from domain.values import Event, Fact, Meta, fingerprint, require_customer


def _open(state: Complaint | None, data: ComplaintOpened, meta: Meta) -> tuple[Event, ...]:
    if state is not None:
        if state.said[registry.of(data).name] == fingerprint(data, meta.occurred_at):
            return ()
        raise ComplaintOpenedDifferently(data.complaint_id)
    if data.same_matter and data.related_to in (None, data.complaint_id):
        raise SameMatterNeedsCase(data.complaint_id)
    return (data, *opening_clocks(evolve(None, data, meta), data, data.received_at or meta.occurred_at))


def _acknowledge(state: Complaint, data: ComplaintAcknowledged, meta: Meta) -> tuple[Event, ...]:
    return () if state.acknowledged else (data,)


def _assign(state: Complaint, data: ComplaintAssigned, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    _require_not_concerned(state, data.owner)
    return () if (state.owner, state.queue) == (data.owner, data.queue or state.queue) else (data,)


def _wait(state: Complaint, data: ComplaintWaiting, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    if state.status == "waiting" and (state.waiting_for, state.pauses[-1][2]) == (data.waiting_for, data.pause):
        return ()
    running = [pinned_preset(clock) for clock in (state.statutory, state.service) if clock is not None]
    if data.notice_id is None and any(data.pause in preset.pauses & preset.notice_for for preset in running):
        raise PauseNeedsNotice(data.pause)
    return (data, *moved_clocks(state, data, meta))


def _resume(state: Complaint, data: ComplaintResumed, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    if state.status != "waiting":
        raise ComplaintNotWaitingYet(data.complaint_id)
    return (data, *moved_clocks(state, data, meta))


def _escalate(state: Complaint, data: ComplaintEscalated, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    return (data,)


def _extend(state: Complaint, data: ComplaintExtended, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    clock = state.statutory or state.service
    if clock is not None:
        clocks.grant_extension(pinned_preset(clock), state.extensions, data.provided)
        if clock.due_at is not None and meta.occurred_at > clock.due_at:
            raise ExtensionTooLate(f"due {clock.due_at}")
    return (data, *moved_clocks(state, data, meta))


def _add_facts(state: Complaint, data: ComplaintFactsAdded, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    return (data, *restarted_clocks(state, data, meta))


def _change_policy(state: Complaint, data: ComplaintPolicyChanged, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    changed = changed_policy(state, data, meta)
    return (data, *changed) if changed else ()


def _report_missed(state: Complaint, data: ComplaintDeadlineMissed, meta: Meta) -> tuple[Event, ...]:
    """A report counts when this clock was really due then, in a case that is still open, and nobody said so before."""
    clock = state.statutory if data.clock == "statutory" else state.service
    if clock is None or state.status in OVER or (data.clock, data.due_at) in state.missed:
        return ()
    if (clock.preset, clock.version, clock.due_at) != (data.preset, data.preset_version, data.due_at):
        return ()
    if meta.occurred_at < data.due_at:
        return ()
    follows = after_miss(state, clock, data, meta.occurred_at) if data.clock == "statutory" else ()
    return (data, *follows)


def _resolve(state: Complaint, data: ComplaintResolved, meta: Meta) -> tuple[Event, ...]:
    if state.outcome is not None:
        if state.outcome == data.outcome:
            return ()
        raise ComplaintResolvedDifferently(f"{state.outcome}, not {data.outcome}")
    _require_open(state)
    _require_not_concerned(state, data.by)
    refused = state.case_type == "data_request" and data.outcome == "rejected"
    if (state.case_type == "complaint" or refused) and data.onward_rights is None:
        raise OnwardRightsMissing(data.complaint_id)
    if data.redress is not None and data.redress.minor < 0:
        raise RedressIsNegative(data.complaint_id)
    # The pause ends first, so that whoever counts the resolution knows by when it was due.
    return (*moved_clocks(state, data, meta), data)


def _reopen(state: Complaint, data: ComplaintReopened, meta: Meta) -> tuple[Event, ...]:
    if state.status not in OVER:
        raise ComplaintNotResolvedYet(data.complaint_id)
    after = evolve(state, data, meta)
    events: list[Event] = [data]
    # Both clocks are told again even when they stay: read models forget the deadlines of a case that is over.
    if (clock := state.statutory) is not None:
        preset = pinned_preset(clock)
        if data.new_facts and restarts(preset, clock, meta.occurred_at):
            events.append(clock_set("statutory", preset, meta.occurred_at, after, data))
        else:
            events.append(clock_set("statutory", preset, clock.starts_at, after, data, state.extensions))
    if (clock := state.service) is not None:
        start = meta.occurred_at if data.new_facts else clock.starts_at
        events.append(clock_set("service", pinned_preset(clock), start, after, data))
    return tuple(events)


def _withdraw(state: Complaint, data: ComplaintWithdrawn, meta: Meta) -> tuple[Event, ...]:
    if state.withdrawn:
        return ()
    _require_open(state)
    return (*moved_clocks(state, data, meta), data)


def _close(state: Complaint, data: ComplaintClosed, meta: Meta) -> tuple[Event, ...]:
    if state.status == "closed":
        return ()
    if state.status not in OVER:
        raise ComplaintNotResolvedYet(data.complaint_id)
    return (data,)


_DECISIONS: dict[type[Event], Callable[[Complaint, Any, Meta], tuple[Event, ...]]] = {
    ComplaintAcknowledged: _acknowledge,
    ComplaintAssigned: _assign,
    ComplaintWaiting: _wait,
    ComplaintResumed: _resume,
    ComplaintEscalated: _escalate,
    ComplaintExtended: _extend,
    ComplaintFactsAdded: _add_facts,
    ComplaintPolicyChanged: _change_policy,
    ComplaintResolved: _resolve,
    ComplaintReopened: _reopen,
    ComplaintWithdrawn: _withdraw,
    ComplaintClosed: _close,
}


def decide(state: Complaint | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this case; empty when it says nothing new. Raises NotYet or Refused."""
    data, meta = fact.data, fact.meta
    if state is not None:
        require_customer(state.customer_id, fact)
    if isinstance(data, ComplaintOpened):
        return _open(state, data, meta)
    if state is None:
        raise ComplaintNotOpenedYet(meta.event_id)
    if state.said.get(registry.of(data).name) == fingerprint(data, meta.occurred_at):
        return ()
    if isinstance(data, ComplaintDeadlineMissed):
        return _report_missed(state, data, meta)
    missed = passed_deadlines(state, data, meta)
    for event in missed:
        state = evolve(state, event, meta)
    events = _DECISIONS[type(data)](state, data, meta)
    return (*missed, *events) if events else ()


def _require_open(state: Complaint) -> None:
    if state.status in OVER:
        raise ComplaintIsOver(state.status)


def _require_not_concerned(state: Complaint, handler: str | None) -> None:
    if handler is not None and handler == state.about_employee:
        raise HandlerIsConcerned(handler)
