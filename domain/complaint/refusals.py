"""What a case waits for, and what it never accepts."""

from domain.errors import NotYet, Refused


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


class RegimeOfOtherCases(Refused):
    """This regime is not for cases of this type. Name one that is, or `service_default` where no law sets a deadline,
    or open a case of another type.
    """


class PauseNeedsNotice(Refused):
    """This pause stops the statutory clock only when the customer was told. Add `notice_id`."""


class OnwardRightsMissing(Refused):
    """The answer to a complaint and the refusal of a data request tell the onward rights. Add `onward_rights`."""


class RedressIsNegative(Refused):
    """Redress is paid to the customer and cannot be negative. Correct the amount."""


class ExtensionTooLate(Refused):
    """The deadline was over when it was to be extended. Resolve the case; the miss stays on record."""


class ExtensionWouldBeLost(Refused):
    """The newest version has fewer extensions than this case was granted. Leave the case under its own version."""


class HandlerIsConcerned(Refused):
    """The complaint is about this employee, who must not handle or decide it. Assign somebody else."""


class SameMatterNeedsCase(Refused):
    """A repetition of the same matter must say which other case it repeats. Add `related_to`, or open it as its own."""


class WrongClock(Refused):
    """A service policy has no place on the statutory clock, nor a regime on the service clock. Name it in the other
    field.
    """
