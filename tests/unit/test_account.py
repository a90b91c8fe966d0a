"""Account: each transaction posted once and reversed once, a new stream each month."""

from datetime import date

import pytest
from msgspec.structs import replace

from domain import handling
from domain.account import (
    AccountMonth,
    TransactionNotPostedYet,
    TransactionPosted,
    TransactionPostedDifferently,
    TransactionReversed,
)
from domain.values import BelongsToAnotherCustomer, Event, Money
from tests.support.builders import fact
from tests.support.given import given

MONDAY = date(2026, 3, 2)


def post(transaction_id: str = "t", minor: int = -990, currency: str = "EUR") -> TransactionPosted:
    amount = Money(minor=minor, currency=currency)
    return TransactionPosted(account_id="a", transaction_id=transaction_id, booked_on=MONDAY, amount=amount)


def take_back(transaction_id: str = "t") -> TransactionReversed:
    return TransactionReversed(account_id="a", transaction_id=transaction_id, booked_on=MONDAY)


def test_a_transaction_is_posted_once() -> None:
    given().when(post()).then(post())
    given(post()).when(post()).then_nothing()
    given(post()).when(post("u")).then(post("u"))


def test_currencies_may_be_mixed_on_an_account() -> None:
    given(post()).when(post("u", currency="CNY")).then(post("u", currency="CNY"))


@pytest.mark.parametrize("other", [post(minor=-991), post(currency="GBP")])
def test_another_amount_under_the_same_id_is_refused(other: Event) -> None:
    given(post()).when(other).then_refuses(TransactionPostedDifferently)


def test_a_posting_is_reversed_once() -> None:
    given(post()).when(take_back()).then(take_back())
    given(post(), take_back()).when(take_back()).then_nothing()
    given(post(), take_back()).when(post()).then_nothing()


def test_a_reversal_waits_for_its_posting() -> None:
    given().when(take_back()).then_parks(TransactionNotPostedYet)
    given(post()).when(take_back("u")).then_parks(TransactionNotPostedYet)


@pytest.mark.parametrize("data", [post("u"), take_back()])
def test_another_customer_is_refused(data: Event) -> None:
    given(post()).when(data, customer="c2").then_refuses(BelongsToAnotherCustomer)


def test_each_month_has_a_stream_of_its_own() -> None:
    april = replace(post(), booked_on=date(2026, 4, 1))
    assert handling.stream_of(fact(post())) == "account-a:2026-03"
    assert handling.stream_of(fact(april)) == "account-a:2026-04"


def test_a_later_posting_leaves_every_earlier_state_as_it_was() -> None:
    state: object | None = None
    earlier: list[tuple[AccountMonth, dict[str, tuple[int, str, bool]]]] = []
    expected: dict[str, tuple[int, str, bool]] = {}
    for number in range(200):
        state, _ = handling.handle(state, fact(post(f"t{number}", number)))
        expected = {**expected, f"t{number}": (number, "EUR", False)}
        if number % 3 == 0:
            state, _ = handling.handle(state, fact(take_back(f"t{number // 2}")))
            expected = {**expected, f"t{number // 2}": (number // 2, "EUR", True)}
        assert isinstance(state, AccountMonth)
        earlier.append((state, expected))
    assert all(one.postings == known for one, known in earlier)
    assert len(earlier[-1][0].parts) <= 8  # log2(200): what keeps a busy month cheap
