"""What to do about a message that a rule refused or holds."""

from collections.abc import Iterator

import consumers.deciding
import consumers.poison  # noqa: F401 (its rules are among the remedies)
from domain import handling  # noqa: F401 (the rules of the aggregates, too)
from domain.errors import DomainError

UNREADABLE = "The message itself is wrong: correct it at its source and publish it again, under an id of its own."
"""What is to be done where no rule of the domain refused."""


def meaning(rule: str) -> str:
    """What the error behind a rule says: what is wrong and what to do."""
    known = {error().rule: error for error in _all(DomainError)}
    return " ".join((known[rule].__doc__ or "").split()) if rule in known else UNREADABLE


def _all(error: type[DomainError]) -> Iterator[type[DomainError]]:
    for one in error.__subclasses__():
        yield one
        yield from _all(one)
