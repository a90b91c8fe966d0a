"""Customer timeline: everything that happened with one customer, one row per event, newest first when read.

Derived events (deadlines set, answers scored) stay out: the event they were derived from is there already. A missed
deadline has a row, whoever found it. A summary says what happened in the words of the contract's own codes; names,
addresses and free text stay in the log. `channel` is that of the events which say one; the others of their stream
belong to the same.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from domain.values import Money, Recorded
from projections.declare import Index, Key, Projection, Rows, Table

TIMELINE = Table(
    name="customer_timeline",
    key={"customer_id": "text", "log_position": "bigint"},
    columns={
        "occurred_at": "timestamptz",
        "recorded_at": "timestamptz",
        "type": "text",
        "stream": "text",
        "summary": "text",
        "source": "text",
        "event_id": "text",
        "project_id": "text",
        "channel": "text",
    },
    indexes=(Index(("customer_id", "occurred_at", "log_position")),),
    appended=True,
)

MINOR_DIGITS = dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0) | dict.fromkeys(
    ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3
)
"""ISO 4217 currencies whose minor unit is not a hundredth."""


def money(amount: Money) -> str:
    """An amount for people: `1,234.50 EUR`, `-500 JPY`."""
    digits = MINOR_DIGITS.get(amount.currency, 2)
    whole = str(abs(amount.minor)).zfill(digits + 1)
    rest = ""
    if digits:
        whole, rest = whole[:-digits], "." + whole[-digits:]
    if len(whole) > 3:
        whole = f"{int(whole):,}"
    return f"{'-' if amount.minor < 0 else ''}{whole}{rest} {amount.currency}"


@lru_cache(maxsize=1000)
def _words(code: str) -> str:
    return code.replace("_", " ")


@lru_cache(maxsize=1000)
def _sentence(code: str) -> str:
    return _words(code).capitalize()


def _registered(e: Any) -> str:
    products = f" with {len(e.products)} product(s)" if e.products else ""
    return f"Became a customer ({e.kind}){products}"


def _profile_changed(e: Any) -> str:
    changed = sorted(name for name in e.__struct_fields__ if getattr(e, name) is not None)
    return f"Profile changed: {', '.join(changed) or 'nothing'}"


def _waiting(e: Any) -> str:
    return f"Case {e.complaint_id} waits for the {_words(e.waiting_for)}"


def _escalated(e: Any) -> str:
    return f"Case {e.complaint_id} escalated" + (f" to {e.to_queue}" if e.to_queue else "")


def _opened(e: Any) -> str:
    issue = f": {e.issue}" if e.issue else ""
    return f"{_sentence(e.case_type)} {e.complaint_id} by {e.channel}{issue}"


def _resolved(e: Any) -> str:
    redress = f", redress {money(e.redress)}" if e.redress else ""
    return f"Final response to case {e.complaint_id}: {_words(e.outcome)}{redress}"


def _reopened(e: Any) -> str:
    return f"Case {e.complaint_id} reopened" + (" with new facts" if e.new_facts else "")


def _transferred(e: Any) -> str:
    return f"Contact moved to {e.to_queue}" + (f" ({e.to_agent})" if e.to_agent else "")


def _answered(e: Any) -> str:
    return f"Answered survey {e.invitation_id} with {e.score}" + (" (unfinished)" if e.partial else "")


def _posted(e: Any) -> str:
    elsewhere = " to an own account elsewhere" if e.to_own_account_elsewhere else ""
    return f"{_sentence(e.kind)} {money(e.amount)} on {e.account_id}{elsewhere}"


SUMMARIES: dict[str, Callable[[Any], str]] = {
    "customer.registered": _registered,
    "customer.profile-changed": _profile_changed,
    "customer.consent-changed": lambda e: f"Consent {e.status} for {e.purpose} by {e.channel}",
    "customer.manager-assigned": lambda e: f"Relationship manager is {e.manager_id}",
    "customer.closed": lambda e: "Relationship ended",
    "customer.merged": lambda e: f"Merged into {e.into}",
    "customer.unmerged": lambda e: f"No longer merged into {e.into}",
    "contact.queued": lambda e: f"Waits in {e.queue} ({e.channel})" + (f": {e.reason}" if e.reason else ""),
    "contact.started": lambda e: "Contact answered" + (f" by {e.agent_id}" if e.agent_id else ""),
    "contact.transferred": _transferred,
    "contact.ended": lambda e: f"Contact ended, {'resolved' if e.resolved else 'not resolved'}",
    "contact.abandoned": lambda e: "Left before an agent answered",
    "complaint.opened": _opened,
    "complaint.acknowledged": lambda e: f"Case {e.complaint_id} acknowledged",
    "complaint.assigned": lambda e: f"Case {e.complaint_id} assigned to {e.owner}",
    "complaint.waiting": _waiting,
    "complaint.resumed": lambda e: f"Work on case {e.complaint_id} goes on",
    "complaint.escalated": _escalated,
    "complaint.extended": lambda e: f"Deadline of case {e.complaint_id} extended",
    "complaint.facts-added": lambda e: f"New facts on case {e.complaint_id}",
    "complaint.policy-changed": lambda e: f"Case {e.complaint_id} goes on under other rules",
    "complaint.deadline-missed": lambda e: f"Case {e.complaint_id} missed its {e.clock} deadline",
    "complaint.resolved": _resolved,
    "complaint.reopened": _reopened,
    "complaint.withdrawn": lambda e: f"Case {e.complaint_id} withdrawn",
    "complaint.closed": lambda e: f"Case {e.complaint_id} closed",
    "survey.invited": lambda e: f"Asked for {e.metric.upper()} by {e.channel}",
    "survey.answered": _answered,
    "survey.declined": lambda e: f"Declined survey {e.invitation_id}",
    "survey.bounced": lambda e: f"Survey {e.invitation_id} did not arrive",
    "transaction.posted": _posted,
    "transaction.reversed": lambda e: f"Transaction {e.transaction_id} on {e.account_id} reversed",
}

SAY_A_CHANNEL = frozenset({"customer.consent-changed", "contact.queued", "complaint.opened", "survey.invited"})


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """Nothing to load: rows are only added."""
    return ()


def fold(rows: Rows, event: Recorded) -> None:
    """Add the row of one event."""
    meta, name = event.meta, event.name
    data: Any = event.event
    rows.append(
        TIMELINE,
        meta.customer_id,
        event.position,
        meta.occurred_at,
        event.recorded_at,
        name,
        event.originator_id,
        SUMMARIES[name](data),
        meta.source,
        meta.event_id,
        data.project_id if data.has_dimensions else None,
        data.channel if name in SAY_A_CHANNEL else None,
    )


CUSTOMER_TIMELINE = Projection(
    name="customer_timeline",
    version=3,
    tables=(TIMELINE,),
    handles=frozenset(SUMMARIES),
    keys=keys,
    fold=fold,
)
