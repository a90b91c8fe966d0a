"""Credit-card customers with an attrition label (Kaggle "BankChurners") as a year of events, and their labels.

    python -m examples.card_churn card_churn.csv.gz | kehu publish -
    python -m examples.card_churn card_churn.csv.gz --labels > labels.csv

The file is a snapshot without dates: counts and sums of twelve months. Each row is spread over the twelve months up to
2025-12-27, so that the same numbers come out again when the events are folded:

- A registration with the products, at the start of the relationship.
- The transactions, in as many months as the row was not inactive in, divided between the two half years so that both
  ratios ("Q4 to Q1") are those of the row: the counts of every row are such that both parts make up the year. Amounts
  are in US cents. The last one carries what is owed, as a negative balance, and the credit limit.
- The contacts, each queued, answered and ended.

Where the numbers of a row contradict each other, the nearest that can be is spread, and said on stderr. Age, gender,
family, education, income and kind of card are left out: what a customer is shall not decide how they are treated.
"""

import csv
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from examples.common import CloudEvent, Report, Row, cloud_event, row_by_row, rows
from examples.common import main as convert_file

SOURCE = "/examples/card-churn"
AS_OF = datetime(2025, 12, 27, 23, 59, 59, tzinfo=UTC)
"""The end of a ten-day period since 1970: what is folded then has whole periods."""
PERIOD = timedelta(days=10)
IN_MONTH, MONTHS, HALF = 3, 12, 6
DAYS_OF_A_MONTH = 365.25 / 12
LEFT = "Attrited Customer"


def events(row: Row, report: Report) -> list[CloudEvent]:
    """The year of one customer, in order."""
    number, customer = int(row["CLIENTNUM"]), customer_of(row)
    made: list[tuple[datetime, str, str, dict[str, Any]]] = []
    since = AS_OF.date() - timedelta(days=round(int(row["Months_on_book"]) * DAYS_OF_A_MONTH))
    products = [f"product-{n + 1}" for n in range(int(row["Total_Relationship_Count"]))]
    registered = {"customer_since": since.isoformat(), "products": products}
    made.append((_noon(since), "registered", "customer.registered", registered))
    made += _transactions(row, number, report)
    for n in range(int(row["Contacts_Count_12_mon"])):
        contact, at = {"contact_id": f"churn-{number}-{n}"}, AS_OF - timedelta(days=15 + 28 * n)
        for name, more, minutes in (
            ("queued", {"queue": "cards", "channel": "phone"}, 0),
            ("started", {}, 1),
            ("ended", {"resolved": True}, 6),
        ):
            made.append((at + timedelta(minutes=minutes), f"contact-{n}-{name}", f"contact.{name}", contact | more))
    made.sort(key=lambda one: one[0])
    return [
        cloud_event(SOURCE, f"{number}-{event_id}", name, customer, at.strftime("%Y-%m-%dT%H:%M:%SZ"), data)
        for at, event_id, name, data in made
    ]


def customer_of(row: Row) -> str:
    """The customer of a row."""
    return f"cardholder-{int(row['CLIENTNUM'])}"


def label_of(row: Row) -> dict[str, str]:
    """Whether the customer left, as a row of the file that `kehu risk train` reads."""
    left = int(row["Attrition_Flag"] == LEFT)
    return {"customer_id": customer_of(row), "label": str(left), "as_of": AS_OF.isoformat()}


def _transactions(row: Row, number: int, report: Report) -> Iterator[tuple[datetime, str, str, dict[str, Any]]]:
    counts = _counts(int(row["Total_Trans_Ct"]), float(row["Total_Ct_Chng_Q4_Q1"]))
    amounts = _amounts(_cents(row["Total_Trans_Amt"]), float(row["Total_Amt_Chng_Q4_Q1"]), counts, report)
    months = _months(counts, MONTHS - int(row["Months_Inactive_12_mon"]), report)
    account, made = f"card-{number}", 0
    for count, amount, active in zip(counts, amounts, months, strict=True):
        for n, cents in enumerate(_parts(amount, count)):
            # The first of each active month before the second of any.
            period = active[n % len(active)] * IN_MONTH + n // len(active) % IN_MONTH
            at = AS_OF - PERIOD * period - timedelta(hours=12 + n)
            data = {
                "account_id": account,
                "transaction_id": f"{account}-{made}",
                "booked_on": at.date().isoformat(),
                "amount": {"minor": -cents, "currency": "USD"},
                "kind": "card",
                # The last half comes first, and in it the last posting.
                "balance": _usd(-_cents(row["Total_Revolving_Bal"])) if not made else None,
                "credit_limit": _usd(_cents(row["Credit_Limit"])) if not made else None,
            }
            yield at, f"posted-{made}", "transaction.posted", {k: v for k, v in data.items() if v is not None}
            made += 1


def _counts(total: int, ratio: float) -> tuple[int, int]:
    """Transactions of the last half year and of the first: of all that make up the total, those nearest the ratio."""
    last = min(range(total), key=lambda n: abs(n / (total - n) - ratio))
    return last, total - last


def _amounts(total: int, ratio: float, counts: Sequence[int], report: Report) -> tuple[int, int]:
    if not counts[0] and ratio:
        report.notes[
            "customers with an amount, but no transaction in the last half year: it is spread in the first"
        ] += 1
        return 0, total
    first = round(total / (1 + ratio))
    return total - first, first


def _months(counts: Sequence[int], active: int, report: Report) -> tuple[list[int], list[int]]:
    """The months, 0 is the last one, in which the transactions of each half are."""
    chosen = [min(1, count) for count in counts]
    most = [min(count, HALF) for count in counts]
    while sum(chosen) < active and chosen != most:
        chosen[max(range(2), key=lambda half: most[half] - chosen[half])] += 1
    if sum(chosen) != active:
        report.notes["customers with fewer transactions than active months: as many months as can be"] += 1
    last, first = (list(range(begin, begin + n)) for begin, n in zip((0, HALF), chosen, strict=True))
    return last, first


def _parts(amount: int, count: int) -> list[int]:
    """An amount in so many parts that are as equal as can be."""
    return [amount // count + (n < amount % count) for n in range(count)]


def _cents(said: str) -> int:
    return round(float(said) * 100)


def _usd(cents: int) -> dict[str, Any]:
    return {"minor": cents, "currency": "USD"}


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


convert = row_by_row(events)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write events, or with --labels the labels."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the CSV file, plain or .gz")
    parser.add_argument("--labels", action="store_true", help="write the labels as CSV instead of the events")
    given = parser.parse_args(arguments)
    if not given.labels:
        return convert_file(convert, __doc__, [str(given.file)])
    writer = csv.DictWriter(sys.stdout, ["customer_id", "label", "as_of"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(label_of, rows(given.file)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
