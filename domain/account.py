"""Account: what moved on it in one month. Stream `account-{account_id}:{YYYY-MM}`.

The books are closed every month by starting a new stream, so that an account that is twenty years old costs no more to
load than a new one. The core banking system owns the balance; Kehu keeps what its read models need.
"""

from datetime import date
from typing import Literal

from pydantic import Field

from domain.registry import register
from domain.values import Dimensions, Event, Flag, Id, Label, Money, StreamName


def stream_name(account_id: str, booked_on: date) -> StreamName:
    """The stream of one account's month."""
    return StreamName(f"account-{account_id}:{booked_on.year:04}-{booked_on.month:02}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class TransactionPosted(Dimensions):
    """Money moved: positive into the account, negative out of it."""

    account_id: Id
    transaction_id: Id
    booked_on: date
    amount: Money
    kind: Literal["card", "transfer", "salary", "standing_order", "cash", "fee", "interest", "loan", "other"] = "other"
    to_own_account_elsewhere: Flag = False
    balance: Money | None = Field(default=None, description="of the account after this transaction")
    text: Label | None = None


class TransactionReversed(Event):
    """A posting was taken back. `booked_on` is that of the posting, since it names the month."""

    account_id: Id
    transaction_id: Id
    booked_on: date
    reason: Label | None = None


register("transaction.posted", TransactionPosted)
register("transaction.reversed", TransactionReversed)
