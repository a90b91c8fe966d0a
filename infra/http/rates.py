"""How much one caller may ask: a bucket of requests that fills at a steady rate."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from infra.http.problems import TooMany

REMEMBERED = 50_000


class Rates:
    """A bucket for each caller. One who is forgotten, as many others came since, begins with a full one."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: OrderedDict[tuple[str, str | None], tuple[float, float]] = OrderedDict()

    def take(self, caller: tuple[str, str | None]) -> None:
        """One request. Raises TooMany, with the seconds after which there is one again."""
        now = self._clock()
        left, then = self._left.get(caller, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._rate)
        if left < 1:
            wait = int((1 - left) / self._rate) + 1
            told = f"{self._rate:g} a second, {self._burst} at once"
            raise TooMany(told, {"Retry-After": str(wait)})
        self._left[caller] = left - 1, now
        self._left.move_to_end(caller)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
