"""Complaint (and every other case with a deadline). Stream `complaint-{complaint_id}`."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta as Says
from msgspec import field
from msgspec.structs import replace

from domain import clocks, registry
from domain.errors import NotYet, Refused
from domain.registry import register
from domain.values import (
    Dimensions,
    Event,
    Fact,
    Flag,
    Id,
    Label,
    Meta,
    Moment,
    Money,
    StreamName,
    Text,
    Value,
    fingerprint,
    require_customer,
)

CaseType = Literal["complaint", "consultation", "service_request", "dispute", "data_request"]
ONWARD = "text on ombudsman or review; needed for a complaint"
Outcome = Literal["upheld", "partly_upheld", "rejected", "settled"]


def stream_name(complaint_id: str) -> StreamName:
    """The stream of one complaint."""
    return StreamName(f"complaint-{complaint_id}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class ComplaintOpened(Dimensions):
    """A complaint arrived. `regime` names the statutory preset; `received_at` is when it reached the bank."""

    complaint_id: Id
    channel: Label
    queue: Label = "complaints"
    case_type: CaseType = "complaint"
    regime: Label = "uk_disp_standard"
    issue: Label | None = None
    cause: Label | None = None
    severity: Annotated[int, Says(ge=1, le=4)] = 3
    vulnerable: Flag = False
    amount: Money | None = None
    description: Text | None = None
    received_at: Moment | None = None
    contact_id: Id | None = None
    related_to: Annotated[Id | None, Says(description="an earlier complaint about the same matter")] = None


class ComplaintAcknowledged(Event):
    """The customer was told that the complaint arrived."""

    complaint_id: Id
    by: Id | None = None


class ComplaintAssigned(Event):
    """A handler, and perhaps another queue, took it over."""

    complaint_id: Id
    owner: Id
    queue: Label | None = None


class ComplaintWaiting(Event):
    """Work stopped for somebody else. Only `pause` reasons that the preset lists stop its clock."""

    complaint_id: Id
    waiting_for: Literal["customer", "third_party"]
    pause: Annotated[Label, Says(description="reason code, e.g. external_appraisal")] = "waiting_customer"
    notice_id: Annotated[Id | None, Says(description="the notice to the customer, where a pause needs one")] = None


class ComplaintResumed(Event):
    """Work goes on."""

    complaint_id: Id


class ComplaintEscalated(Event):
    """It went to a higher level, and perhaps to another queue."""

    complaint_id: Id
    reason: Label
    to_queue: Label | None = None


class ComplaintExtended(Event):
    """The statutory deadline was extended. `provided` lists what the preset asks for (approval, notice, …)."""

    complaint_id: Id
    actor: Id
    reason: Label
    provided: Annotated[tuple[Label, ...], Says(max_length=20)] = ()
    approval_id: Id | None = None
    notice_id: Id | None = None


class ComplaintResolved(Event):
    """The final response: outcome, reasons, and what the customer may do next."""

    complaint_id: Id
    outcome: Outcome
    reasons: Text
    onward_rights: Annotated[Text | None, Says(description=ONWARD)] = None
    redress: Money | None = None
    accepted: Annotated[Flag, Says(description="the customer accepted it")] = False
    by: Id | None = None


class ComplaintReopened(Event):
    """The customer came back. New facts start the statutory clock anew where its preset says so."""

    complaint_id: Id
    reason: Label
    new_facts: Flag = False


class ComplaintWithdrawn(Event):
    """The customer took it back."""

    complaint_id: Id
    reason: Label | None = None


class ComplaintClosed(Event):
    """Nothing more to do."""

    complaint_id: Id
    reason: Label | None = None


class ComplaintClockSet(Event):
    """Derived: a deadline as it stands from now on, under the preset version pinned on the case.

    `due_at` is None while the clock is stopped. `because` is the fact that set it (opened, extended, waiting, …).
    """

    complaint_id: Id
    clock: Literal["statutory", "service"]
    preset: Label
    preset_version: int
    starts_at: datetime
    due_at: datetime | None = None
    because: Label


# --- state ---

Status = Literal["open", "waiting", "resolved", "closed", "withdrawn"]
SERVICE = "service_default"
"""The preset of the service clock. As a regime it says that no law sets a deadline: only the service clock runs."""

NEEDS_NOTICE = frozenset({"external_appraisal"})
"""Pauses that stop a statutory clock only when the customer was told: CBIRC Order 3 of 2020, on external appraisal."""


class Clock(Value):
    """One deadline of a case, under the preset version that it began with; `due_at` is None while it is stopped."""

    preset: str
    version: int
    starts_at: datetime
    due_at: datetime | None


class Complaint(Value):
    """Where a case stands, and what a later decision needs to know.

    `pauses` are (start, end, reason), the end None while it lasts. `said` holds the fingerprint of the last fact of
    each type, to know it again when it is sent twice.
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
    said: dict[str, str] = field(default_factory=dict)


def evolve(state: Complaint | None, event: Event, meta: Meta) -> Complaint:
    """The state after an event; never fails on what `decide` returned."""
    if isinstance(event, ComplaintOpened):
        said = {registry.of(event).name: fingerprint(event, meta.occurred_at)}
        return Complaint(
            meta.customer_id, "open", event.case_type, event.queue, event.severity, meta.occurred_at, said=said
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
    clock = Clock(event.preset, event.preset_version, event.starts_at, event.due_at)
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


# --- refusals ---


class ComplaintNotOpenedYet(NotYet):
    """The complaint has not been opened yet. It is tried again when the opening arrives."""


class ComplaintNotResolvedYet(NotYet):
    """The complaint has neither been resolved nor withdrawn yet. It is tried again when it is."""


class ComplaintNotWaitingYet(NotYet):
    """The complaint does not wait for anybody yet. It is tried again when it does."""


class ComplaintOpenedDifferently(Refused):
    """This complaint was opened before with other details. Give a new complaint a new id."""


class ComplaintIsOver(Refused):
    """The complaint is resolved, withdrawn or closed. Reopen it first."""


class ComplaintResolvedDifferently(Refused):
    """The complaint was resolved with another outcome. Reopen it, then resolve it anew."""


class UnknownRegime(Refused):
    """No preset for a statutory clock has the name of this regime. Open the complaint under one that exists."""


class RegimeNotInForce(Refused):
    """The regime was not in force yet when the complaint was received. Name one that was, or correct the time."""


class PauseNeedsNotice(Refused):
    """This pause stops the statutory clock only when the customer was told. Add `notice_id`."""


class OnwardRightsMissing(Refused):
    """The final response to a complaint must tell the customer's onward rights. Add `onward_rights`."""


class RedressIsNegative(Refused):
    """Redress is paid to the customer and cannot be negative. Correct the amount."""


# --- decisions ---


def _open(state: Complaint | None, data: ComplaintOpened, meta: Meta) -> tuple[Event, ...]:
    if state is not None:
        if state.said[registry.of(data).name] == fingerprint(data, meta.occurred_at):
            return ()
        raise ComplaintOpenedDifferently(data.complaint_id)
    start = data.received_at or meta.occurred_at
    state = evolve(None, data, meta)
    service = _clock("service", _preset(SERVICE, start), start, state, data)
    if data.regime == SERVICE:
        return (data, service)
    return (data, _clock("statutory", _preset(data.regime, start), start, state, data), service)


def _acknowledge(state: Complaint, data: ComplaintAcknowledged, meta: Meta) -> tuple[Event, ...]:
    return () if state.acknowledged else (data,)


def _assign(state: Complaint, data: ComplaintAssigned, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    return () if (state.owner, state.queue) == (data.owner, data.queue or state.queue) else (data,)


def _wait(state: Complaint, data: ComplaintWaiting, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    if state.status == "waiting" and (state.waiting_for, state.pauses[-1][2]) == (data.waiting_for, data.pause):
        return ()
    stops = state.statutory is not None and data.pause in _pinned(state.statutory).pauses
    if stops and data.pause in NEEDS_NOTICE and data.notice_id is None:
        raise PauseNeedsNotice(data.pause)
    return (data, *_moved_clocks(state, data, meta))


def _resume(state: Complaint, data: ComplaintResumed, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    if state.status != "waiting":
        raise ComplaintNotWaitingYet(data.complaint_id)
    return (data, *_moved_clocks(state, data, meta))


def _escalate(state: Complaint, data: ComplaintEscalated, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    return (data,)


def _extend(state: Complaint, data: ComplaintExtended, meta: Meta) -> tuple[Event, ...]:
    _require_open(state)
    clock = state.statutory or state.service
    if clock is not None:
        clocks.grant_extension(_pinned(clock), state.extensions, data.provided)
    return (data, *_moved_clocks(state, data, meta))


def _resolve(state: Complaint, data: ComplaintResolved, meta: Meta) -> tuple[Event, ...]:
    if state.outcome is not None:
        if state.outcome == data.outcome:
            return ()
        raise ComplaintResolvedDifferently(f"{state.outcome}, not {data.outcome}")
    _require_open(state)
    if state.case_type == "complaint" and data.onward_rights is None:
        raise OnwardRightsMissing(data.complaint_id)
    if data.redress is not None and data.redress.minor < 0:
        raise RedressIsNegative(data.complaint_id)
    # The pause ends first, so that whoever counts the resolution knows by when it was due.
    return (*_moved_clocks(state, data, meta), data)


def _reopen(state: Complaint, data: ComplaintReopened, meta: Meta) -> tuple[Event, ...]:
    if state.status not in OVER:
        raise ComplaintNotResolvedYet(data.complaint_id)
    after = evolve(state, data, meta)
    events: list[Event] = [data]
    # Both clocks are told again even when they stay: read models forget the deadlines of a case that is over.
    if (clock := state.statutory) is not None:
        preset = _pinned(clock)
        if data.new_facts and "new_facts" in preset.restart_on:
            events.append(_clock("statutory", preset, meta.occurred_at, after, data))
        else:
            events.append(_clock("statutory", preset, clock.starts_at, after, data, state.extensions))
    if (clock := state.service) is not None:
        start = meta.occurred_at if data.new_facts else clock.starts_at
        events.append(_clock("service", _pinned(clock), start, after, data))
    return tuple(events)


def _withdraw(state: Complaint, data: ComplaintWithdrawn, meta: Meta) -> tuple[Event, ...]:
    if state.withdrawn:
        return ()
    _require_open(state)
    return (*_moved_clocks(state, data, meta), data)


def _close(state: Complaint, data: ComplaintClosed, meta: Meta) -> tuple[Event, ...]:
    if state.status == "closed":
        return ()
    if state.status not in OVER:
        raise ComplaintNotResolvedYet(data.complaint_id)
    return (data,)


OVER: frozenset[Status] = frozenset({"resolved", "closed", "withdrawn"})
_DECISIONS: dict[type[Event], Callable[[Complaint, Any, Meta], tuple[Event, ...]]] = {
    ComplaintAcknowledged: _acknowledge,
    ComplaintAssigned: _assign,
    ComplaintWaiting: _wait,
    ComplaintResumed: _resume,
    ComplaintEscalated: _escalate,
    ComplaintExtended: _extend,
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
    missed = _missed(state, data, meta)
    for event in missed:
        state = evolve(state, event, meta)
    events = _DECISIONS[type(data)](state, data, meta)
    return (*missed, *events) if events else ()


def _require_open(state: Complaint) -> None:
    if state.status in OVER:
        raise ComplaintIsOver(state.status)


# --- clocks of a case ---


def _preset(name: str, at: datetime) -> clocks.Preset:
    try:
        return clocks.preset(name, at)
    except clocks.PresetNotInForce as error:
        raise RegimeNotInForce(str(error)) from error
    except clocks.UnknownPreset as error:
        raise UnknownRegime(name) from error
    except OverflowError as error:
        raise clocks.TimeOutOfRange(str(at)) from error


def _pinned(clock: Clock) -> clocks.Preset:
    return clocks.pinned(clock.preset, clock.version)


def _clock(
    which: Literal["statutory", "service"],
    preset: clocks.Preset,
    start: datetime,
    state: Complaint,
    because: Any,
    extensions: int = 0,
) -> ComplaintClockSet:
    """The clock as it stands in `state`: stopped while a pause lasts that its preset lists."""
    if state.status == "waiting" and state.pauses[-1][2] in preset.pauses:
        due_at = None
    else:
        target = preset.for_severity(state.severity)
        due_at = clocks.due(target, start, extensions=extensions, pauses=state.pauses)
    return ComplaintClockSet(
        complaint_id=because.complaint_id,
        clock=which,
        preset=preset.name,
        preset_version=preset.version,
        starts_at=start,
        due_at=due_at,
        because=registry.of(because).name.removeprefix("complaint."),
    )


def _moved_clocks(state: Complaint, data: Event, meta: Meta) -> tuple[ComplaintClockSet, ...]:
    """The clocks whose deadline a fact moves, stops or sets going again."""
    after = evolve(state, data, meta)
    if (after.pauses, after.extensions) == (state.pauses, state.extensions):
        return ()  # a deadline follows from its beginning, the pauses and the extensions
    moved = []
    if (clock := state.statutory) is not None:
        now = _clock("statutory", _pinned(clock), clock.starts_at, after, data, after.extensions)
        moved += [now] if now.due_at != clock.due_at else []
    if (clock := state.service) is not None:
        now = _clock("service", _pinned(clock), clock.starts_at, after, data)
        moved += [now] if now.due_at != clock.due_at else []
    return tuple(moved)


def _missed(state: Complaint, data: Event, meta: Meta) -> tuple[ComplaintClockSet, ...]:
    """The statutory clock under the preset that follows a missed one.

    A summary resolution (DISP 1.5) is missed when its time has passed, or when the customer did not accept it.
    """
    clock = state.statutory
    if clock is None or clock.due_at is None or state.status in OVER:
        return ()
    follows = _pinned(clock).on_miss
    accepted = not isinstance(data, ComplaintResolved) or data.accepted
    if follows is None or (meta.occurred_at <= clock.due_at and accepted):
        return ()
    return (_clock("statutory", _preset(follows, clock.starts_at), clock.starts_at, state, data),)


register("complaint.opened", ComplaintOpened)
register("complaint.acknowledged", ComplaintAcknowledged)
register("complaint.assigned", ComplaintAssigned)
register("complaint.waiting", ComplaintWaiting)
register("complaint.resumed", ComplaintResumed)
register("complaint.escalated", ComplaintEscalated)
register("complaint.extended", ComplaintExtended)
register("complaint.resolved", ComplaintResolved)
register("complaint.reopened", ComplaintReopened)
register("complaint.withdrawn", ComplaintWithdrawn)
register("complaint.closed", ComplaintClosed)
register("complaint.clock-set", ComplaintClockSet, published=False)
