"""Account: what moved on it in one month. Stream `account-{account_id}:{YYYY-MM}`.

The books are closed every month by starting a new stream, so that an account that is twenty years old costs no more to
load than a new one. The core banking system owns the balance; Kehu keeps what its read models need.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta as Says

from domain.errors import NotYet, Refused
from domain.personal import PersonalLabel
from domain.registry import register
from domain.values import Dimensions, Event, Fact, Flag, Id, Meta, Money, StreamName, Value, require_customer


def stream_name(account_id: str, booked_on: date) -> StreamName:
    """The stream of one account's month."""
    return StreamName(f"account-{account_id}:{booked_on.isoformat()[:7]}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class TransactionPosted(Dimensions):
    """Money moved: positive into the account, negative out of it."""

    account_id: Id
    transaction_id: Id
    booked_on: date
    amount: Money
    kind: Literal["card", "transfer", "salary", "standing_order", "cash", "fee", "interest", "loan", "other"] = "other"
    to_own_account_elsewhere: Flag = False
    balance: Annotated[Money | None, Says(description="of the account after this transaction")] = None
    credit_limit: Annotated[Money | None, Says(description="of the account after this transaction")] = None
    text: PersonalLabel | None = None


class TransactionReversed(Event):
    """A posting was taken back. `booked_on` is that of the posting, since it names the month."""

    account_id: Id
    transaction_id: Id
    booked_on: date
    reason: PersonalLabel | None = None


# --- state ---

Posting = tuple[int, str, bool]
"""Minor units, currency, and whether it was reversed."""


class AccountMonth(Value):
    """The postings of one account in one month, by transaction id.

    `parts` are dicts that are never changed, each larger than the next; a newer one wins. A posting copies only the
    small ones at the end: about log2(n) entries on average instead of all n, and older states stay as they were.
    """

    customer_id: str
    parts: tuple[dict[str, Posting], ...] = ()

    def posting(self, transaction_id: str) -> Posting | None:
        """What was posted under this id."""
        for part in reversed(self.parts):
            if (found := part.get(transaction_id)) is not None:
                return found
        return None

    @property
    def postings(self) -> dict[str, Posting]:
        """All postings in one dict, made anew."""
        return {one: posting for part in self.parts for one, posting in part.items()}


def evolve(state: AccountMonth | None, event: Event, meta: Meta) -> AccountMonth:
    """The state after an event; never fails on what `decide` returned."""
    if isinstance(event, TransactionPosted):
        parts = state.parts if state else ()
        posting = (event.amount.minor, event.amount.currency, False)
        return AccountMonth(meta.customer_id, _with(parts, event.transaction_id, posting))
    assert state is not None
    assert isinstance(event, TransactionReversed)
    posted = state.posting(event.transaction_id)
    assert posted is not None
    reversed_one = (posted[0], posted[1], True)
    return AccountMonth(state.customer_id, _with(state.parts, event.transaction_id, reversed_one))


def _with(
    parts: tuple[dict[str, Posting], ...], transaction_id: str, posting: Posting
) -> tuple[dict[str, Posting], ...]:
    last, kept = {transaction_id: posting}, len(parts)
    while kept and len(parts[kept - 1]) <= len(last):
        kept -= 1
        last = parts[kept] | last
    return (*parts[:kept], last)


# --- refusals ---


class TransactionNotPostedYet(NotYet):
    """The transaction to reverse has not been posted yet in this month. It is tried again when it is."""


class TransactionPostedDifferently(Refused):
    """This transaction was posted before with another amount. Reverse it and post a new one."""


# --- decisions ---


def decide(state: AccountMonth | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this month; empty when it says nothing new. Raises NotYet or Refused."""
    data = fact.data
    if state is not None:
        require_customer(state.customer_id, fact)
    if isinstance(data, TransactionPosted):
        known = state.posting(data.transaction_id) if state else None
        if known is None:
            return (data,)
        if known[:2] == (data.amount.minor, data.amount.currency):
            return ()
        raise TransactionPostedDifferently(data.transaction_id)
    assert isinstance(data, TransactionReversed)
    posted = state.posting(data.transaction_id) if state else None
    if posted is None:
        raise TransactionNotPostedYet(data.transaction_id)
    return () if posted[2] else (data,)


register("transaction.posted", TransactionPosted)
register("transaction.reversed", TransactionReversed)
