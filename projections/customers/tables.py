"""What is kept of customers. Names, addresses and ids of persons are in one table only: there they can be forgotten."""

from projections.declare import Index, Row, Table

PROFILES = Table(
    name="customers",
    key={"customer_id": "text"},
    columns={
        "kind": "text",
        "country": "text",
        "customer_since": "date",
        "branch": "text",
        "product": "text",
        "segment": "text",
        "project_id": "text",
        "manager_id": "text",
        "products": "jsonb",
        "registered_at": "timestamptz",
        "closed_at": "timestamptz",
        "set_by": "jsonb",
    },
    indexes=tuple(Index((column, "customer_id")) for column in ("manager_id", "branch", "segment")),
    followed=True,
)
"""One customer as of the last fact about each field, by when it happened; nothing here is personal data.

`set_by` has for a field the event that set it: `[source#id, position, occurred_at]`; under `""` the registration, which
set the others.
"""

PERSONAL = Table(
    name="customer_personal",
    key={"customer_id": "text", "field": "text", "item": "text"},
    columns={
        "value": "text",
        "matched": "text",
        "occurred_at": "timestamptz",
        "source": "text",
        "event_id": "text",
    },
    indexes=(Index(("matched", "field", "customer_id")),),
    personal=frozenset({"item", "value", "matched"}),
)
"""Personal data: the only table with a name, an address or an id of a person, one row for each.

`field` is name, email, phone, device_ids, or the name of a strong id. `matched` is what is compared with others, in its
normal form. Each device has a row beside the list, with `item`.
"""

CONSENTS = Table(
    name="customer_consents",
    key={"customer_id": "text", "purpose": "text", "channel": "text"},
    columns={
        "status": "text",
        "since": "timestamptz",
        "expires_at": "timestamptz",
        "source": "text",
        "event_id": "text",
    },
    indexes=(Index(("purpose", "channel", "customer_id"), include=("status", "expires_at")),),
)
"""What a customer last said to one purpose on one channel. Whether it has expired depends on when it is asked."""

PROJECTS = Table(
    name="customer_projects",
    key={"customer_id": "text", "project_id": "text"},
    columns={"first_at": "timestamptz", "last_at": "timestamptz", "events": "bigint"},
    indexes=(Index(("project_id", "customer_id")),),
)
"""Every project that an event of the customer named, and the first and the last time."""

ANSWERS = Table(
    name="customer_answers",
    key={"customer_id": "text", "metric": "text"},
    columns={
        "score": "smallint",
        "scale": "smallint",
        "answered_at": "timestamptz",
        "invitation_id": "text",
        "channel": "text",
        "source": "text",
        "event_id": "text",
    },
)
"""The customer's last answer for each of CSAT, NPS and CES."""

ALIASES = Table(
    name="customer_aliases",
    key={"customer_id": "text"},
    columns={
        "into_id": "text",
        "active": "boolean",
        "since": "timestamptz",
        "reason": "text",
        "merged_by": "text",
        "source": "text",
        "event_id": "text",
        "merged_at": "bigint",
        "ended_at": "timestamptz",
        "ended_reason": "text",
        "ended_by": "text",
    },
    indexes=(Index(("into_id", "customer_id"), only="active"),),
    personal=frozenset({"reason", "ended_reason"}),
)
"""The last merge of an absorbed customer, `active` until it is undone; `merged_at` is the position of the merge."""

RESTRICTIONS = Table(
    name="customer_restrictions",
    key={"customer_id": "text"},
    columns={"until": "date", "basis": "text", "reason": "text", "decided_by": "text", "since": "timestamptz"},
    indexes=(Index(("until",)),),
)
"""Who asked to be forgotten and must be kept until a date: on which basis, and which request it was."""

NEW: Row = dict.fromkeys(PROFILES.columns)
