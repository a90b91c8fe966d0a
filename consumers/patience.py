"""What a service does about a server that is away: say so once, try again, and say once that it goes on."""

from time import monotonic
from typing import Any

LONGEST_WAIT = 5.0
"""Seconds between two tries at most."""


class Patience:
    """Says once that something is waited for and once that it goes on, and waits longer from time to time."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._since: float | None = None
        self._wait = 0.1
        self._until = 0.0

    @property
    def wait(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._until - monotonic())

    @property
    def over(self) -> bool:
        """Whether it is time to try again."""
        return monotonic() >= self._until

    def failed(self, what: str, error: BaseException) -> None:
        """It does not go on: try again later."""
        if self._since is None:
            self._since = monotonic()
            self._log.warning(f"waiting: {what}", error=one_line(error))
        self._until = monotonic() + self._wait
        self._wait = min(self._wait * 2, LONGEST_WAIT)

    def succeeded(self) -> None:
        """It goes on."""
        if self._since is not None:
            self._log.warning("going on", waited_seconds=round(monotonic() - self._since, 1))
        self._since, self._wait, self._until = None, 0.1, 0.0


def one_line(error: BaseException) -> str:
    """What the error says, without line breaks."""
    return " ".join(str(error).split())
