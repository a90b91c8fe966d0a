"""Complaint (and every other case with a deadline). Stream `complaint-{complaint_id}`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from domain.errors import NotYet, Refused
from domain.registry import register
from domain.values import Dimensions, Event, Fact, Flag, Id, Label, Meta, Money, StreamName, Text, require_customer

CaseType = Literal["complaint", "consultation", "service_request", "dispute", "data_request"]
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
    severity: Annotated[int, Field(strict=True, ge=1, le=4)] = 3
    vulnerable: Flag = False
    amount: Money | None = None
    description: Text | None = None
    received_at: datetime | None = None
    contact_id: Id | None = None
    related_to: Id | None = Field(default=None, description="an earlier complaint about the same matter")


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
    pause: Label = Field(default="waiting_customer", description="reason code, e.g. external_appraisal")
    notice_id: Id | None = Field(default=None, description="the notice to the customer, where a pause needs one")


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
    provided: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    approval_id: Id | None = None
    notice_id: Id | None = None


class ComplaintResolved(Event):
    """The final response: outcome, reasons, and what the customer may do next."""

    complaint_id: Id
    outcome: Outcome
    reasons: Text
    onward_rights: Text | None = Field(default=None, description="text on ombudsman or review; needed for a complaint")
    redress: Money | None = None
    accepted: Flag = Field(default=False, description="the customer accepted it")
    by: Id | None = None


class ComplaintReopened(Event):
    """The customer came back. New facts start the statutory clock anew; the same facts do not."""

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

    `due_at` is None while the clock is stopped. `because` is the event that set it (opened, extended, waiting, …).
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


@dataclass(frozen=True, slots=True)
class Complaint:
    """Where a case stands, and what a later decision needs to know."""

    customer_id: str
    status: Status
    case_type: CaseType
    regime: str
    queue: str
    opened_at: datetime
    acknowledged: bool = False
    owner: str | None = None
    outcome: Outcome | None = None
    reopened: int = 0


def evolve(state: Complaint | None, event: Event, meta: Meta) -> Complaint:
    """The state after an event; never fails on what `decide` returned."""
    if isinstance(event, ComplaintOpened):
        return Complaint(meta.customer_id, "open", event.case_type, event.regime, event.queue, meta.occurred_at)
    assert state is not None
    match event:
        case ComplaintAcknowledged():
            return replace(state, acknowledged=True)
        case ComplaintAssigned():
            return replace(state, owner=event.owner, queue=event.queue or state.queue)
        case ComplaintWaiting():
            return replace(state, status="waiting")
        case ComplaintResumed():
            return replace(state, status="open")
        case ComplaintEscalated():
            return replace(state, queue=event.to_queue or state.queue)
        case ComplaintResolved():
            return replace(state, status="resolved", outcome=event.outcome)
        case ComplaintReopened():
            return replace(state, status="open", outcome=None, reopened=state.reopened + 1)
        case ComplaintWithdrawn():
            return replace(state, status="withdrawn")
        case ComplaintClosed():
            return replace(state, status="closed")
        case _:
            return state


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


class OnwardRightsMissing(Refused):
    """The final response to a complaint must tell the customer's onward rights. Add `onward_rights`."""


class RedressIsNegative(Refused):
    """Redress is paid to the customer and cannot be negative. Correct the amount."""


# --- decisions ---


def _open(state: Complaint | None, data: ComplaintOpened, meta: Meta) -> tuple[Event, ...]:
    if state is None:
        return (data,)
    if (state.opened_at, state.case_type, state.regime) == (meta.occurred_at, data.case_type, data.regime):
        return ()
    raise ComplaintOpenedDifferently(data.complaint_id)


def _acknowledge(state: Complaint, data: ComplaintAcknowledged) -> tuple[Event, ...]:
    return () if state.acknowledged else (data,)


def _assign(state: Complaint, data: ComplaintAssigned) -> tuple[Event, ...]:
    _require_open(state)
    return () if (state.owner, state.queue) == (data.owner, data.queue or state.queue) else (data,)


def _wait(state: Complaint, data: ComplaintWaiting) -> tuple[Event, ...]:
    _require_open(state)
    return () if state.status == "waiting" else (data,)


def _resume(state: Complaint, data: ComplaintResumed) -> tuple[Event, ...]:
    _require_open(state)
    if state.status != "waiting":
        raise ComplaintNotWaitingYet(data.complaint_id)
    return (data,)


def _while_open(state: Complaint, data: ComplaintEscalated | ComplaintExtended) -> tuple[Event, ...]:
    _require_open(state)
    return (data,)


def _resolve(state: Complaint, data: ComplaintResolved) -> tuple[Event, ...]:
    if state.status == "resolved":
        if state.outcome == data.outcome:
            return ()
        raise ComplaintResolvedDifferently(f"{state.outcome}, not {data.outcome}")
    _require_open(state)
    if state.case_type == "complaint" and data.onward_rights is None:
        raise OnwardRightsMissing(data.complaint_id)
    if data.redress is not None and data.redress.minor < 0:
        raise RedressIsNegative(data.complaint_id)
    return (data,)


def _reopen(state: Complaint, data: ComplaintReopened) -> tuple[Event, ...]:
    if state.status not in OVER:
        raise ComplaintNotResolvedYet(data.complaint_id)
    return (data,)


def _withdraw(state: Complaint, data: ComplaintWithdrawn) -> tuple[Event, ...]:
    if state.status == "withdrawn":
        return ()
    _require_open(state)
    return (data,)


def _close(state: Complaint, data: ComplaintClosed) -> tuple[Event, ...]:
    if state.status == "closed":
        return ()
    if state.status not in OVER:
        raise ComplaintNotResolvedYet(data.complaint_id)
    return (data,)


OVER: frozenset[Status] = frozenset({"resolved", "closed", "withdrawn"})


def _require_open(state: Complaint) -> None:
    if state.status in OVER:
        raise ComplaintIsOver(state.status)


_DECISIONS: dict[type[Event], Callable[[Complaint, Any], tuple[Event, ...]]] = {
    ComplaintAcknowledged: _acknowledge,
    ComplaintAssigned: _assign,
    ComplaintWaiting: _wait,
    ComplaintResumed: _resume,
    ComplaintEscalated: _while_open,
    ComplaintExtended: _while_open,
    ComplaintResolved: _resolve,
    ComplaintReopened: _reopen,
    ComplaintWithdrawn: _withdraw,
    ComplaintClosed: _close,
}


def decide(state: Complaint | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this case; empty when it says nothing new. Raises NotYet or Refused."""
    data = fact.data
    if state is not None:
        require_customer(state.customer_id, fact)
    if isinstance(data, ComplaintOpened):
        return _open(state, data, fact.meta)
    if state is None:
        raise ComplaintNotOpenedYet
    return _DECISIONS[type(data)](state, data)


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
