"""First-contact resolution of queues: counted where and when the contact ended, taken back there if it did not hold."""

from datetime import date, datetime

from projections.declare import Row, Rows
from projections.measures.first_contact import came, settled
from projections.service_queues.tables import FIRST, cell_of, count_in


def comes(rows: Rows, customer_id: str, contact: str, topic: str, at: datetime) -> bool:
    """A contact comes; returns whether the customer had another one about the same shortly before."""
    row = rows.get(FIRST, (customer_id,))
    recent, again, taken_back = came(row["contacts"] if row is not None else {}, contact, topic, at)
    if taken_back is not None:
        count_in(rows, (date.fromisoformat(taken_back[0]), *taken_back[1:]), first_contact=-1)
    rows.put(FIRST, (customer_id,), {"contacts": recent})
    return again


def solved(rows: Rows, item: Row, contact: str, at: datetime) -> None:
    """A contact ended, and what the customer wanted was done."""
    if item["again"]:
        return
    cell, key = cell_of(item, at), (item["customer_id"],)
    row = rows.get(FIRST, key)
    where = (cell[0].isoformat(), *cell[1:])
    recent, counts = settled(row["contacts"] if row is not None else {}, contact, item["topic"] or "", at, where)
    if counts:
        count_in(rows, cell, first_contact=1)
    if recent is not None:
        rows.put(FIRST, key, {"contacts": recent})
