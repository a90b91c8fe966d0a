"""Actions: the bank's own, opened once and closed once."""

from datetime import date

import pytest

from domain import handling
from domain.action import (
    ActionClosed,
    ActionIsAboutNoCustomer,
    ActionIsClosed,
    ActionNotOpenedYet,
    ActionOpened,
    ActionOpenedDifferently,
)
from domain.customer import CustomerRegistered
from domain.handling import SubjectIsTheBank
from domain.values import BANK
from tests.support.builders import fact
from tests.support.given import given

OPENED = ActionOpened(action_id="a1", owner="m-1", due=date(2026, 4, 30), description="tell the fee first")
CLOSED = ActionClosed(action_id="a1", note="in all branches")
FACT = fact(OPENED, customer=BANK)
DONE = fact(CLOSED, "e2", customer=BANK)


def test_an_action_is_opened_and_closed() -> None:
    given().when(OPENED, customer=BANK).then(OPENED)
    given(FACT).when(CLOSED, customer=BANK).then(CLOSED)


def test_what_was_said_before_says_nothing_new() -> None:
    given(FACT).when(OPENED, customer=BANK).then_nothing()
    given(FACT, DONE).when(OPENED, customer=BANK).then_nothing()
    given(FACT, DONE).when(CLOSED, customer=BANK).then_nothing()


def test_an_action_cannot_be_closed_before_it_is_opened() -> None:
    given().when(CLOSED, customer=BANK).then_parks(ActionNotOpenedYet)


def test_an_action_is_not_changed_afterwards() -> None:
    other = ActionOpened(action_id="a1", owner="m-2", due=OPENED.due, description=OPENED.description)
    given(FACT).when(other, customer=BANK).then_refuses(ActionOpenedDifferently)
    again = ActionClosed(action_id="a1", result="dropped")
    given(FACT, DONE).when(again, customer=BANK).then_refuses(ActionIsClosed)


def test_an_action_is_about_no_customer() -> None:
    given().when(OPENED, customer="c-1").then_refuses(ActionIsAboutNoCustomer)


def test_no_customer_is_the_bank() -> None:
    with pytest.raises(SubjectIsTheBank):
        handling.handle(None, fact(CustomerRegistered(name="A bank"), customer=BANK))
