"""What can go wrong in the domain. The docstring of an error is its message and names the remedy."""

import re


class DomainError(Exception):
    """The domain cannot accept this."""

    def __init__(self, detail: str = "") -> None:
        message = " ".join((self.__doc__ or type(self).__name__).split())
        super().__init__(f"{message} ({detail})" if detail else message)

    @property
    def rule(self) -> str:
        """The rule that refused, as a short code: `ComplaintIsClosed` -> `complaint-is-closed`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(self).__name__).lower()


class Refused(DomainError):
    """The fact can never apply. Correct it at its source and publish it under a new id."""


class NotYet(DomainError):
    """The fact cannot apply yet: something that must come before it has not arrived."""


class UnknownName(DomainError):
    """No event is registered under this name and version. Register it in its aggregate's module."""
