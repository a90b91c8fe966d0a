"""First-contact resolution: a contact that solved it counts, until the same customer comes back about the same.

The same is the same product; a contact without one is about the customer in general. A figure can still fall until the
days of the rule are over.
"""

from datetime import date, datetime, timedelta

from projections.declare import Key, Row, Rows
from projections.measures.first_contact import FIRST_CONTACT
from projections.service_queues.tables import FIRST, cell_of, count_in


def solved(rows: Rows, item: Row, at: datetime) -> None:
    """A contact ended, and what the customer wanted was done."""
    cell = cell_of(item, at)
    count_in(rows, cell, first_contact=1)
    key = (item["customer_id"],)
    row = rows.get(FIRST, key)
    kept = row["contacts"] if row is not None else {}
    oldest = (at - timedelta(days=FIRST_CONTACT.at(at).days)).isoformat()
    contacts = {topic: one for topic, one in kept.items() if one[0] >= oldest}
    contacts[item["product"] or ""] = [at.isoformat(), cell[0].isoformat(), *cell[1:]]
    rows.put(FIRST, key, {"contacts": contacts})


def comes_back(rows: Rows, customer_id: str, product: str | None, at: datetime) -> None:
    """A new contact: what was solved about the same within the days of the rule was not."""
    row = rows.get(FIRST, (customer_id,))
    if row is None or (last := row["contacts"].get(product or "")) is None:
        return
    since = at - datetime.fromisoformat(last[0])
    if timedelta() <= since <= timedelta(days=FIRST_CONTACT.at(at).days):
        count_in(rows, _cell(last), first_contact=-1)
        rows.put(FIRST, (customer_id,), {"contacts": {t: one for t, one in row["contacts"].items() if one != last}})


def _cell(kept: list[str]) -> Key:
    return (date.fromisoformat(kept[1]), *kept[2:])
