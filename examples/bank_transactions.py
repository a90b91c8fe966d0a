"""Account movements of a Czech bank (PKDD'99, anonymised) as posted transactions.

    python -m examples.bank_transactions bank_transactions.csv.gz | kehu publish -

Each row is one posting: the account's owner is the customer, amounts and balances are in haléř (1/100 CZK), withdrawals
are negative. The file has days only: a posting happens at midnight UTC of its day, and rows keep their order.
"""

import sys
from datetime import date
from decimal import Decimal
from typing import Any

from examples.common import CloudEvent, Report, Row, cloud_event, main, row_by_row

SOURCE = "/examples/bank-transactions"
SIGNS = {"credit": 1, "withdrawal": -1, "withdrawal in cash": -1}
KINDS_BY_PURPOSE = {
    "interest credited": "interest",
    "sanction interest if negative balance": "interest",
    "payment for statement": "fee",
    "household": "standing_order",
    "insurrance payment": "standing_order",
    "loan payment": "loan",
    "old-age pension": "salary",
}
KINDS_BY_OPERATION = {
    "credit card withdrawal": "card",
    "withdrawal in cash": "cash",
    "credit in cash": "cash",
    "remittance to another bank": "transfer",
    "collection from another bank": "transfer",
}


def events(row: Row, report: Report) -> list[CloudEvent]:
    """The posting of one row; the purpose says more about its kind than the operation does."""
    purpose, operation = row["k_symbol"].strip(), row["operation"].strip()
    kind = KINDS_BY_PURPOSE.get(purpose) or KINDS_BY_OPERATION.get(operation)
    if kind is None:
        report.notes[f"postings of kind other: {operation!r}, {purpose!r}"] += 1
    booked_on = date.fromisoformat(row["date"]).isoformat()
    data = {
        "account_id": row["account_id"],
        "transaction_id": row["trans_id"],
        "booked_on": booked_on,
        "amount": _money(SIGNS[row["type"]] * Decimal(row["amount"])),
        "kind": kind or "other",
        "balance": _money(Decimal(row["balance"])),
        "text": ", ".join(filter(None, (operation, purpose))) or None,
    }
    customer, time = f"client-{int(row['client_id'])}", f"{booked_on}T00:00:00Z"
    return [cloud_event(SOURCE, row["trans_id"], "transaction.posted", customer, time, data)]


def _money(amount: Decimal) -> dict[str, Any]:
    minor = amount * 100
    if minor != int(minor):
        raise ValueError(f"{amount} is no whole number of haléř")
    return {"minor": int(minor), "currency": "CZK"}


convert = row_by_row(events)

if __name__ == "__main__":
    sys.exit(main(convert, __doc__))
