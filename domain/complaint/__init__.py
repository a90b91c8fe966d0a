"""Complaint (and every other case with a deadline). Stream `complaint-{complaint_id}`.

The largest aggregate, and so a package. It is read in the order of the other aggregates: `events` (and the name of the
stream), `state` (and `evolve`), `refusals`, `deadlines` (the clocks of a case), `decisions` (and `decide`), `standing`
(a case for people).
"""

from domain.complaint.decisions import decide
from domain.complaint.events import (
    ComplaintAcknowledged,
    ComplaintAssigned,
    ComplaintClockSet,
    ComplaintClosed,
    ComplaintDeadlineMissed,
    ComplaintEscalated,
    ComplaintExtended,
    ComplaintOpened,
    ComplaintPolicyChanged,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
    stream_name,
)
from domain.complaint.refusals import (
    ComplaintIsOver,
    ComplaintNotOpenedYet,
    ComplaintNotResolvedYet,
    ComplaintNotWaitingYet,
    ComplaintOpenedDifferently,
    ComplaintResolvedDifferently,
    ExtensionTooLate,
    ExtensionWouldBeLost,
    HandlerIsConcerned,
    OnwardRightsMissing,
    PauseNeedsNotice,
    RedressIsNegative,
    RegimeNotInForce,
    SameMatterNeedsCase,
    UnknownRegime,
    WrongClock,
)
from domain.complaint.state import Clock, Complaint, evolve

__all__ = [
    "Clock",
    "Complaint",
    "ComplaintAcknowledged",
    "ComplaintAssigned",
    "ComplaintClockSet",
    "ComplaintClosed",
    "ComplaintDeadlineMissed",
    "ComplaintEscalated",
    "ComplaintExtended",
    "ComplaintIsOver",
    "ComplaintNotOpenedYet",
    "ComplaintNotResolvedYet",
    "ComplaintNotWaitingYet",
    "ComplaintOpened",
    "ComplaintOpenedDifferently",
    "ComplaintPolicyChanged",
    "ComplaintReopened",
    "ComplaintResolved",
    "ComplaintResolvedDifferently",
    "ComplaintResumed",
    "ComplaintWaiting",
    "ComplaintWithdrawn",
    "ExtensionTooLate",
    "ExtensionWouldBeLost",
    "HandlerIsConcerned",
    "OnwardRightsMissing",
    "PauseNeedsNotice",
    "RedressIsNegative",
    "RegimeNotInForce",
    "SameMatterNeedsCase",
    "UnknownRegime",
    "WrongClock",
    "decide",
    "evolve",
    "stream_name",
]
