"""Given facts, when a fact, then events: the shape of every test of an aggregate."""

from dataclasses import dataclass
from datetime import datetime

import pytest

from domain import handling
from domain.errors import NotYet, Refused
from domain.values import Event, Fact
from tests.support.builders import NOON, fact


@dataclass
class When:
    """A fact on a given history."""

    state: object | None
    fact: Fact

    def decided(self) -> tuple[Event, ...]:
        return handling.handle(self.state, self.fact)[1]

    def then(self, *expected: Event) -> None:
        assert self.decided() == expected

    def then_nothing(self) -> None:
        """The fact is accepted and says nothing new."""
        assert self.decided() == ()

    def then_parks(self, error: type[NotYet]) -> None:
        """The fact cannot apply yet."""
        with pytest.raises(error):
            self.decided()

    def then_refuses(self, error: type[Refused]) -> None:
        """The fact can never apply."""
        with pytest.raises(error):
            self.decided()


@dataclass
class Given:
    """A history of facts, each accepted."""

    history: tuple[Event | Fact, ...]

    def when(self, data: Event, *, customer: str = "c1", at: datetime = NOON) -> When:
        state: object | None = None
        for earlier in self.history:
            state, _ = handling.handle(state, earlier if isinstance(earlier, Fact) else fact(earlier))
        return When(state, fact(data, customer=customer, at=at))


def given(*history: Event | Fact) -> Given:
    """A stream on which these facts were accepted: as they are, or at noon about customer c1."""
    return Given(history)
