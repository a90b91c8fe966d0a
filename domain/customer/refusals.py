"""What a fact about a customer waits for, and what is never accepted."""

from domain.errors import NotYet, Refused


class CustomerNotRegisteredYet(NotYet):
    """The customer has not been registered yet. It is tried again when the registration arrives."""


class CustomerNotMergedYet(NotYet):
    """The customer has not been merged into that survivor yet. It is tried again when the merge arrives."""


class CustomerRegisteredDifferently(Refused):
    """This customer is registered with other details. Publish a profile change instead."""


class CustomerIsClosed(Refused):
    """The relationship with this customer has ended. Register the returning customer under a new id."""


class CustomerIsErased(Refused):
    """This customer was forgotten, and nothing new is kept under their id. Register who returns under a new one."""


class CustomerIsTheSurvivor(Refused):
    """A customer cannot be merged into itself. Name another customer as the survivor."""


class CustomerIsMergedElsewhere(Refused):
    """This customer is merged into another survivor. Undo that merge first, or merge that survivor."""


class StrongIdsConflict(Refused):
    """The two have different strong ids, so they are not the same. Correct the id that is wrong, then merge again."""
