"""One step for each event of a customer.

Of two facts about one thing the one that happened later holds, and of two at the same time the one that is later in
the log: a fact that comes late changes nothing newer. Merges hold in the order of the log, in which they were decided.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from domain.customer.identity import MATCHING, WEAK, normal_form, strong_ids
from domain.personal import ERASED
from domain.values import Meta, Recorded
from projections.customers.tables import ALIASES, CONSENTS, NEW, PERSONAL, PROFILES, RESTRICTIONS
from projections.declare import Key, Row, Rows, Table

PLAIN = ("country", "branch", "product", "segment", "project_id", "manager_id")
PERSONAL_FIELDS = ("name", *WEAK)


def _mark(event: Recorded) -> list[Any]:
    """Which event set a field."""
    meta = event.meta
    return [f"{meta.source}#{meta.event_id}", event.position, meta.occurred_at.astimezone(UTC).isoformat()]


def _sent(meta: Meta) -> Row:
    return {"source": meta.source, "event_id": meta.event_id}


def _registered(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    at = event.meta.occurred_at
    row = {
        **NEW,
        **{name: getattr(data, name) for name in PLAIN},
        "kind": data.kind,
        "customer_since": data.customer_since,
        "products": list(data.products),
        "registered_at": at,
        "set_by": {"": _mark(event)},
    }
    rows.put(PROFILES, (event.meta.customer_id,), row)
    for name, value in _personal(data):
        if value != ():
            _put_personal(rows, event, name, value, ())


def _personal(data: Any) -> list[tuple[str, Any]]:
    """The personal fields that an event says."""
    found = [(name, value) for name in PERSONAL_FIELDS if (value := getattr(data, name)) is not None]
    return [*found, *strong_ids(data).items()]


def _put_personal(rows: Rows, event: Recorded, name: str, value: Any, before: Any) -> None:
    meta = event.meta
    key = meta.customer_id
    said = {"occurred_at": meta.occurred_at, **_sent(meta)}
    if name != "device_ids":
        matched = None if name == "name" else _matched(event, name, value)
        rows.put(PERSONAL, (key, name, ""), {"value": value, "matched": matched, **said})
        return
    rows.put(PERSONAL, (key, name, ""), {"value": json.dumps(value, ensure_ascii=False), "matched": None, **said})
    for device in set(before) - set(value):
        rows.drop(PERSONAL, (key, name, device))
    for device in sorted(set(value) - set(before)):
        matched = _matched(event, name, device)
        rows.put(PERSONAL, (key, name, device), {"value": device, "matched": matched, **said})


def _matched(event: Recorded, name: str, value: str) -> str | None:
    """What is compared of an id. Those who were forgotten have nothing in common."""
    return None if value == ERASED else normal_form(name, value, MATCHING.at(event.meta.occurred_at))


def _set(row: Row, event: Recorded, name: str, value: Any, mark: list[Any]) -> bool:
    """Set a field unless something newer did."""
    known = row["set_by"].get(name)
    since: datetime | None = None
    if known is not None:
        since = datetime.fromisoformat(known[2])
    elif row[name] not in (None, []):
        since = row["registered_at"]
    if since is not None and event.meta.occurred_at < since:
        return False
    row[name] = value
    row["set_by"][name] = mark
    return True


def _profile_changed(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    key, mark = event.meta.customer_id, _mark(event)
    row = rows.get(PROFILES, (key,))
    if row is not None:
        told = {name: getattr(data, name, None) for name in PLAIN}
        told["products"] = None if data.products is None else list(data.products)
        changed = [_set(row, event, name, value, mark) for name, value in told.items() if value is not None]
        if any(changed):
            rows.put(PROFILES, (key,), row)
    for name, value in _personal(data):
        before = rows.get(PERSONAL, (key, name, ""))
        if before is None or event.meta.occurred_at >= before["occurred_at"]:
            devices = json.loads(before["value"]) if before is not None and name == "device_ids" else ()
            _put_personal(rows, event, name, value, devices)


def _manager_assigned(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    row = rows.get(PROFILES, (event.meta.customer_id,))
    if row is not None and _set(row, event, "manager_id", data.manager_id, _mark(event)):
        rows.put(PROFILES, (event.meta.customer_id,), row)


def _closed(rows: Rows, event: Recorded) -> None:
    row = rows.edit(PROFILES, (event.meta.customer_id,))
    if row is not None:
        row["closed_at"] = event.meta.occurred_at
        row["set_by"]["closed_at"] = _mark(event)


def _consent_changed(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    meta = event.meta
    key = (meta.customer_id, data.purpose, data.channel)
    row = rows.get(CONSENTS, key)
    if row is None or meta.occurred_at >= row["since"]:
        said = {"status": data.status, "since": meta.occurred_at, "expires_at": data.expires_at}
        rows.put(CONSENTS, key, {**said, **_sent(meta)})


def _merged(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    row = {
        "into_id": data.into,
        "active": True,
        "since": event.meta.occurred_at,
        "reason": data.reason,
        "merged_by": data.by,
        **_sent(event.meta),
        "merged_at": event.position,
        **dict.fromkeys(("ended_at", "ended_reason", "ended_by")),
    }
    rows.put(ALIASES, (event.meta.customer_id,), row)


def _unmerged(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    row = rows.edit(ALIASES, (event.meta.customer_id,))
    if row is not None:
        row.update(active=False, ended_at=event.meta.occurred_at, ended_reason=data.reason, ended_by=data.by)


def _restricted(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    row = {"until": data.until, "basis": data.basis, "reason": data.reason, "decided_by": data.by}
    rows.put(RESTRICTIONS, (event.meta.customer_id,), {**row, "since": event.meta.occurred_at})


def _erased(rows: Rows, event: Recorded) -> None:
    data: Any = event.event
    customer = event.meta.customer_id
    rows.drop(PROFILES, (customer,))
    if rows.get(RESTRICTIONS, (customer,)) is not None:
        rows.drop(RESTRICTIONS, (customer,))
    if (devices := rows.get(PERSONAL, (customer, "device_ids", ""))) is not None:
        for device in json.loads(devices["value"]):
            rows.drop(PERSONAL, (customer, "device_ids", device))
    for name in data.known:
        rows.drop(PERSONAL, (customer, name, ""))
    # Who was one with whom stays, or what is counted of them would fall apart.
    if (row := rows.get(ALIASES, (customer,))) is not None:
        rows.put(ALIASES, (customer,), {**row, "reason": ERASED, "ended_reason": row["ended_reason"] and ERASED})


STEPS: dict[str, Callable[[Rows, Recorded], None]] = {
    "customer.registered": _registered,
    "customer.profile-changed": _profile_changed,
    "customer.consent-changed": _consent_changed,
    "customer.manager-assigned": _manager_assigned,
    "customer.closed": _closed,
    "customer.merged": _merged,
    "customer.unmerged": _unmerged,
    "customer.restricted": _restricted,
    "customer.erased": _erased,
}


def keys_of(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The rows that the step of an event loads."""
    data: Any = event.event
    customer = event.meta.customer_id
    match event.name:
        case "customer.profile-changed":
            personal = [(PERSONAL, (customer, name, "")) for name, _ in _personal(data)]
            return ((PROFILES, (customer,)), *personal)
        case "customer.manager-assigned" | "customer.closed":
            return ((PROFILES, (customer,)),)
        case "customer.consent-changed":
            return ((CONSENTS, (customer, data.purpose, data.channel)),)
        case "customer.erased":
            known = [(PERSONAL, (customer, name, "")) for name in data.known]
            return ((PROFILES, (customer,)), (ALIASES, (customer,)), (RESTRICTIONS, (customer,)), *known)
        case "customer.unmerged":
            return ((ALIASES, (customer,)),)
        case _:
            return ()
