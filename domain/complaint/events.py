"""What happens to a case. Names and fields are what is stored: change them only with a new version and an upcaster."""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta as Says

from domain import clocks
from domain.personal import PersonalLabel, PersonalText
from domain.registry import register
from domain.values import Count, Dimensions, Event, Flag, Id, Label, Moment, Money, StreamName

CaseType = Literal["complaint", "consultation", "service_request", "dispute", "data_request"]
ONWARD = "text on ombudsman or review; needed for a complaint and for a refused data request"
CONCERNED = "the employee whom it is about, who must not handle it"
CYCLES = "the end of the second complete billing cycle after receipt, for us_reg_z"
SAME_MATTER = "it repeats `related_to`, whose statutory clock runs on: it gets none of its own"
Outcome = Literal["upheld", "partly_upheld", "rejected", "settled"]


def stream_name(complaint_id: str) -> StreamName:
    """The stream of one complaint."""
    return StreamName(f"complaint-{complaint_id}")


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
    description: PersonalText | None = None
    received_at: Moment | None = None
    contact_id: Id | None = None
    related_to: Annotated[Id | None, Says(description="an earlier complaint about the same matter")] = None
    same_matter: Annotated[Flag, Says(description=SAME_MATTER)] = False
    about_employee: Annotated[Id | None, Says(description=CONCERNED)] = None
    cycles_end_on: Annotated[date | None, Says(description=CYCLES)] = None


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
    reason: PersonalLabel
    to_queue: Label | None = None


class ComplaintExtended(Event):
    """The statutory deadline was extended. `provided` lists what the preset asks for (approval, notice, …)."""

    complaint_id: Id
    actor: Id
    reason: PersonalLabel
    provided: Annotated[tuple[Label, ...], Says(max_length=20)] = ()
    approval_id: Id | None = None
    notice_id: Id | None = None


class ComplaintFactsAdded(Event):
    """The customer brought new facts or reasons to an open case. A clock starts anew where its preset says so.

    The event's time is when they reached the bank.
    """

    complaint_id: Id
    description: PersonalText | None = None
    by: Annotated[Id | None, Says(description="the employee who took them down")] = None


class ComplaintPolicyChanged(Event):
    """The case goes on under the newest version of its presets, or under others that are named.

    Beginning and pauses stay, and both deadlines are worked out anew. Granted extensions stay with the same preset.
    """

    complaint_id: Id
    actor: Id
    reason: PersonalLabel
    regime: Annotated[Label | None, Says(description="another statutory preset")] = None
    service_policy: Annotated[Label | None, Says(description="another service preset")] = None


class ComplaintDeadlineMissed(Event):
    """A deadline passed while the case was open: once for each. Whoever reports it, only a real one is kept."""

    complaint_id: Id
    clock: clocks.Which
    preset: Label
    preset_version: Count
    due_at: Moment


class ComplaintResolved(Event):
    """The final response: outcome, reasons, and what the customer may do next."""

    complaint_id: Id
    outcome: Outcome
    reasons: PersonalText
    onward_rights: Annotated[PersonalText | None, Says(description=ONWARD)] = None
    redress: Money | None = None
    accepted: Annotated[Flag, Says(description="the customer accepted it")] = False
    by: Id | None = None


class ComplaintReopened(Event):
    """The customer came back. New facts start the statutory clock anew where its preset says so."""

    complaint_id: Id
    reason: PersonalLabel
    new_facts: Flag = False


class ComplaintWithdrawn(Event):
    """The customer took it back."""

    complaint_id: Id
    reason: PersonalLabel | None = None


class ComplaintClosed(Event):
    """Nothing more to do."""

    complaint_id: Id
    reason: PersonalLabel | None = None


class ComplaintClockSet(Event):
    """Derived: a deadline as it stands from now on, under the preset version pinned on the case.

    `due_at` is None while the clock is stopped. `because` is the fact that set it (opened, extended, waiting, …).
    `missed` tells that this deadline has passed and was reported before; `extensions` how many it includes.
    """

    complaint_id: Id
    clock: clocks.Which
    preset: Label
    preset_version: int
    starts_at: datetime
    due_at: datetime | None = None
    because: Label
    missed: Flag = False
    extensions: int = 0


register("complaint.opened", ComplaintOpened)
register("complaint.acknowledged", ComplaintAcknowledged)
register("complaint.assigned", ComplaintAssigned)
register("complaint.waiting", ComplaintWaiting)
register("complaint.resumed", ComplaintResumed)
register("complaint.escalated", ComplaintEscalated)
register("complaint.extended", ComplaintExtended)
register("complaint.facts-added", ComplaintFactsAdded)
register("complaint.policy-changed", ComplaintPolicyChanged)
register("complaint.deadline-missed", ComplaintDeadlineMissed)
register("complaint.resolved", ComplaintResolved)
register("complaint.reopened", ComplaintReopened)
register("complaint.withdrawn", ComplaintWithdrawn)
register("complaint.closed", ComplaintClosed)
register("complaint.clock-set", ComplaintClockSet, published=False)
