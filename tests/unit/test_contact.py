"""Contact: from the queue over agents to its end, or abandoned while it waits."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain.contact import (
    ContactAbandoned,
    ContactEnded,
    ContactIsOver,
    ContactNotQueuedYet,
    ContactNotStartedYet,
    ContactQueued,
    ContactQueuedDifferently,
    ContactStarted,
    ContactTransferred,
    ContactWasAnswered,
)
from domain.values import BelongsToAnotherCustomer, Event
from tests.support.builders import NOON
from tests.support.given import given

queued = ContactQueued(contact_id="k", queue="cards", channel="phone")
started = ContactStarted(contact_id="k", agent_id="a1")
to_queue = ContactTransferred(contact_id="k", to_queue="loans")
to_agent = ContactTransferred(contact_id="k", to_queue="loans", to_agent="a2")
ended = ContactEnded(contact_id="k", resolved=True)
abandoned = ContactAbandoned(contact_id="k")


@pytest.mark.parametrize(
    ("history", "next_one"),
    [
        ((), queued),
        ((queued,), started),
        ((queued,), to_queue),
        ((queued,), abandoned),
        ((queued, to_queue), started),
        ((queued, to_queue), abandoned),
        ((queued, started), ended),
        ((queued, started), to_queue),
        ((queued, started), to_agent),
        ((queued, started), ContactStarted(contact_id="k", agent_id="a9")),
        ((queued, started, to_agent), ended),
        ((queued, started, to_queue), abandoned),
        ((queued, started, to_queue, started), ended),
    ],
)
def test_a_contact_moves_on(history: tuple[Event, ...], next_one: Event) -> None:
    given(*history).when(next_one).then(next_one)


@pytest.mark.parametrize(
    ("history", "again"),
    [
        ((), queued),
        ((queued,), started),
        ((queued,), to_queue),
        ((queued, started), to_agent),
        ((queued, started), ended),
        ((queued,), abandoned),
    ],
)
def test_the_same_twice_says_nothing_new(history: tuple[Event, ...], again: Event) -> None:
    given(*history, again).when(again).then_nothing()


def test_the_first_fact_may_come_again_while_the_contact_goes_on() -> None:
    given(queued, started, to_agent, ended).when(queued).then_nothing()


def test_every_fact_waits_for_the_queue() -> None:
    for early in (started, to_queue, ended, abandoned):
        given().when(early).then_parks(ContactNotQueuedYet)


def test_an_end_waits_for_the_start() -> None:
    given(queued).when(ended).then_parks(ContactNotStartedYet)
    given(queued, started, to_queue).when(ended).then_parks(ContactNotStartedYet)


def test_who_was_answered_did_not_abandon() -> None:
    given(queued, started).when(abandoned).then_refuses(ContactWasAnswered)
    given(queued, started, to_agent).when(abandoned).then_refuses(ContactWasAnswered)


@pytest.mark.parametrize("late", [started, to_queue, to_agent, abandoned])
def test_nothing_follows_the_end(late: Event) -> None:
    given(queued, started, ended).when(late).then_refuses(ContactIsOver)


@pytest.mark.parametrize("late", [started, to_queue, ended])
def test_nothing_follows_who_abandoned(late: Event) -> None:
    given(queued, abandoned).when(late).then_refuses(ContactIsOver)


def test_another_contact_under_the_same_id_is_refused() -> None:
    given(queued).when(queued, at=NOON + timedelta(hours=1)).then_refuses(ContactQueuedDifferently)
    other = replace(queued, priority=1)
    given(queued).when(other).then_refuses(ContactQueuedDifferently)


@pytest.mark.parametrize("data", [queued, started, ended])
def test_another_customer_is_refused(data: Event) -> None:
    given(queued).when(data, customer="c2").then_refuses(BelongsToAnotherCustomer)
