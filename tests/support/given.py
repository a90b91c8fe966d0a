"""Given facts, when a fact, then events: the shape of every test of an aggregate."""

from dataclasses import dataclass
from datetime import datetime

import pytest

from domain import handling
from domain.errors import DomainError
from domain.values import Event
from tests.support.builders import NOON, fact


@dataclass
class When:
    """A fact on a given history."""

    state: object | None
    data: Event
    customer: str
    at: datetime

    def decided(self) -> tuple[Event, ...]:
        return handling.handle(self.state, fact(self.data, customer=self.customer, at=self.at))[1]

    def then(self, *expected: Event) -> None:
        assert self.decided() == expected

    def then_nothing(self) -> None:
        assert self.decided() == ()

    def then_raises(self, error: type[DomainError]) -> None:
        with pytest.raises(error):
            self.decided()


@dataclass
class Given:
    """A history of facts, each accepted."""

    history: tuple[Event, ...]

    def when(self, data: Event, *, customer: str = "c1", at: datetime = NOON) -> When:
        state: object | None = None
        for earlier in self.history:
            state, _ = handling.handle(state, fact(earlier))
        return When(state, data, customer, at)


def given(*history: Event) -> Given:
    """A stream on which these facts were accepted at noon, about customer c1."""
    return Given(history)
