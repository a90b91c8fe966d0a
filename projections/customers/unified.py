"""One profile of customers who are one: which of their values is shown, and whose it is.

The survivor's value is shown, since who merged them named a survivor; where it has none, the newest of the others.
Products add up, and the relationship has ended only when it has with all of them. Of consents to one purpose on one
channel the newest holds, whoever of them it came from, since one person said both; of two at one time the one that is
not granted.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from projections.customers.aliases import Group
from projections.declare import Row

Known = Mapping[str, Mapping[str, Row]]
"""Customer -> field -> `value`, `event`, `position`, `occurred_at` and `customer_id`."""


def unified(group: Group, known: Known) -> dict[str, Row]:
    """Field -> the value that is shown, what set it, and under `others` what the others have instead."""
    found: dict[str, Row] = {}
    for name in dict.fromkeys(name for fields in known.values() for name in fields):
        having = [known[one][name] for one in group.members if name in known.get(one, {})]
        first = having[0]
        if first["customer_id"] != group.survivor:
            first = max(having, key=_age)
        if name == "closed_at":
            if len(having) < len(known):
                continue
            first = max(having, key=_age)
        value = first["value"]
        if name == "products":
            value = list(dict.fromkeys(product for one in having for product in one["value"]))
        others = [
            {"customer_id": one["customer_id"], "value": one["value"]}
            for one in having
            if one is not first and one["value"] != first["value"]
        ]
        found[name] = {**first, "value": value, "others": others}
    return found


def _age(known: Row) -> tuple[datetime, int]:
    return known["occurred_at"], known["position"]


def consents_in_force(rows: Iterable[Row], now: datetime) -> list[Row]:
    """The consent that holds for each purpose and channel; `valid` is one that is granted and not expired by now."""
    newest: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda one: (one["since"], one["status"] != "granted", one["position"])):
        newest[row["purpose"], row["channel"]] = row
    return [_as_of(newest[key], now) for key in sorted(newest)]


def _as_of(row: Row, now: datetime) -> Row:
    expired = row["expires_at"] is not None and row["expires_at"] <= now
    return {**row, "expired": expired, "valid": row["status"] == "granted" and not expired}


def strong_conflicts(ids: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Of customer, name and value of strong ids: the names under which there is more than one value, and whose."""
    by_name: dict[str, dict[str, list[str]]] = {}
    for customer, name, value in ids:
        by_name.setdefault(name, {}).setdefault(value, []).append(customer)
    return [
        {"field": name, "values": {value: sorted(whose) for value, whose in sorted(values.items())}}
        for name, values in sorted(by_name.items())
        if len(values) > 1
    ]
