"""When to look again at read models: they follow the log a moment later, and say nothing when they have."""

from collections.abc import Callable
from threading import Event
from time import monotonic

POLL = 5.0
"""Seconds after which the read models are looked at although nobody said that the log moved: rows are swept, too."""
FOLDING = 0.05
"""Seconds between two looks while the read models follow the log."""
FOLDED = 2.0
"""Seconds after a word from the log in which they are expected to."""


class Resting:
    """Used by one thread, which it blocks. `wait(seconds)` returns when the log moved, and not later than that."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self._wait = wait
        self._heard = float("-inf")
        self._never = Event()

    def rest(self, behind: bool) -> None:
        """Return when there may be more. `behind`: some read model has not come to the end of the log."""
        if behind and monotonic() - self._heard < FOLDED:
            self._never.wait(FOLDING)
            return
        began = monotonic()
        self._wait(POLL)
        if monotonic() - began < POLL:
            self._heard = monotonic()
