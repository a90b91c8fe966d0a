"""Who customers are: profile with what set each field, consents, projects and last answers; and lists of customers."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from infra.postgres.questions.answer import Answer, Held, Row
from projections.customers.tables import ANSWERS, CONSENTS, PERSONAL, PROFILES, PROJECTS, RESTRICTIONS
from projections.customers.unified import Known, consents_in_force
from projections.declare import Table

Filters = Mapping[str, str | None]
NOTHING: Filters = {}
PROFILE = (
    *("kind", "customer_since", "registered_at", "closed_at", "country", "branch", "segment", "product", "products"),
    *("manager_id", "project_id"),
)
"""The fields of a profile that are no personal data."""
SHOWN_FIRST = ("name", "email", "phone")
KNOWN: Mapping[Table, str] = {PROFILES: "true", PERSONAL: "item = ''"}
"""What must be held of customers, and with which condition, to tell what is known of them."""
HELD: Mapping[Table, str] = {**KNOWN, CONSENTS: "true", PROJECTS: "true", ANSWERS: "true", RESTRICTIONS: "true"}
"""The same for all that is told here."""
_LISTED = (
    *("customer_id", "kind", "branch", "segment", "manager_id", "project_id", "products", "customer_since"),
    *("registered_at", "closed_at"),
)


def known_of(held: Held, ids: Sequence[str]) -> Known:
    """What is known of each of these customers who is registered: every field with the event that set it."""
    found = {
        row["customer_id"]: {name: known for name in PROFILE if (known := _field(row, name)) is not None}
        for row in held[PROFILES]
    }
    for row in sorted(held[PERSONAL], key=lambda row: (row["field"] not in SHOWN_FIRST, row["field"])):
        if row["customer_id"] in found:
            found[row["customer_id"]][row["field"]] = {
                "value": json.loads(row["value"]) if row["field"] == "device_ids" else row["value"],
                "event": f"{row['source']}#{row['event_id']}",
                "position": row["position"],
                "occurred_at": row["occurred_at"],
                "customer_id": row["customer_id"],
            }
    return {one: found[one] for one in ids if one in found}


def _field(row: Row, name: str) -> Row | None:
    value = row[name]
    if value in (None, []) and name not in row["set_by"]:
        return None
    event, position, at = row["set_by"].get(name) or row["set_by"][""]
    return {
        "value": value,
        "event": event,
        "position": position,
        "occurred_at": datetime.fromisoformat(at),
        "customer_id": row["customer_id"],
    }


def consents(held: Held, now: datetime) -> list[Row]:
    """What holds for each purpose and channel, and whether it is valid now."""
    names = ("purpose", "channel", "status", "valid", "expired", "since", "expires_at", "customer_id", "position")
    return [
        {**{name: row[name] for name in names}, "event": f"{row['source']}#{row['event_id']}"}
        for row in consents_in_force(held[CONSENTS], now)
    ]


def restrictions(held: Held) -> list[Row]:
    """Of those who asked to be forgotten: until when they must be kept, and on which basis."""
    names = ("customer_id", "until", "basis", "reason", "since", "position")
    return [{name: row[name] for name in names} for row in held[RESTRICTIONS]]


def projects(held: Held) -> list[Row]:
    """Every project that an event of these customers named, the latest first."""
    found: dict[str, Row] = {}
    for row in held[PROJECTS]:
        one = found.setdefault(row["project_id"], {name: row[name] for name in ("project_id", *PROJECTS.columns)})
        if one["first_at"] is not row["first_at"]:
            one["first_at"], one["last_at"] = min(one["first_at"], row["first_at"]), max(one["last_at"], row["last_at"])
            one["events"] += row["events"]
    by_name = sorted(found.values(), key=lambda one: str(one["project_id"]))
    return sorted(by_name, key=lambda one: one["last_at"], reverse=True)


def answers(held: Held) -> list[Row]:
    """The last answer for each metric."""
    names = ("metric", "score", "scale", "answered_at", "channel", "invitation_id", "customer_id")
    last = {row["metric"]: row for row in sorted(held[ANSWERS], key=lambda row: (row["answered_at"], row["position"]))}
    return [
        {
            **{name: row[name] for name in names},
            "event": f"{row['source']}#{row['event_id']}",
            "position": row["position"],
        }
        for _, row in sorted(last.items())
    ]


def customers(
    answer: Answer,
    now: datetime,
    limit: int = 0,
    *,
    filters: Filters = NOTHING,
    project_id: str | None = None,
    product: str | None = None,
    consent: tuple[str, str] | None = None,
    closed: bool | None = None,
    ids: Sequence[str] | None = None,
) -> Iterator[Row]:
    """So many customers, or with 0 all of them, by id; without personal data. `consent` is a purpose and a channel.

    Each row is about the id that its events came with; `merged_into` tells of whom it is an alias.
    """
    where = [f"c.{name} = %({name})s" for name, value in filters.items() if value is not None]
    values: dict[str, object] = {**filters, "now": now, "project": project_id, "product": product, "ids": ids}
    if project_id is not None:
        where.append(
            "EXISTS (SELECT FROM customer_projects p WHERE p.customer_id = c.customer_id"
            " AND p.project_id = %(project)s)"
        )
    if product is not None:
        where.append("c.products @> to_jsonb(%(product)s::text)")
    if consent is not None:
        values |= {"purpose": consent[0], "channel": consent[1]}
        where.append(
            "EXISTS (SELECT FROM customer_consents s WHERE s.customer_id = c.customer_id"
            " AND s.purpose = %(purpose)s AND s.channel = %(channel)s AND s.status = 'granted'"
            " AND (s.expires_at IS NULL OR s.expires_at > %(now)s))"
        )
    if closed is not None:
        where.append(f"c.closed_at IS {'NOT ' * closed}NULL")
    if ids is not None:
        where.append("c.customer_id = ANY(%(ids)s)")
    # A look into the index for each row: with a join the first page would wait for a table of all aliases.
    alias = "(SELECT a.into_id FROM customer_aliases a WHERE a.customer_id = c.customer_id AND a.active)"
    query = f"""SELECT {", ".join(f"c.{name}" for name in _LISTED)}, {alias} AS merged_into, c.position
        FROM customers c
        WHERE {" AND ".join(where) or "true"} ORDER BY c.customer_id LIMIT %(limit)s"""
    return answer.page(query, values, limit)
