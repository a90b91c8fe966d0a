"""What became of a message. Every message that was read has exactly one outcome at any time."""

from collections import Counter
from enum import StrEnum


class Outcome(StrEnum):
    """The four outcomes of a message."""

    APPENDED = "appended"
    DUPLICATE = "duplicate"
    PARKED = "parked"
    DEAD = "dead"


Outcomes = Counter[Outcome]
"""How many messages came to which outcome."""
