"""What is held on a person as a page that they can read: words, tables by kind, readable times, no columns of ours.

It tells what was said and done, how the person is judged and why, and who read it. Positions, versions, offsets and
what read models keep to count by are left out, and the page says so; the JSON form has all of it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from html import escape
from typing import Any

import orjson

from domain.values import Money
from infra.plain import text_of
from projections.customer_timeline import money

Row = Mapping[str, Any]
Table = Sequence[Mapping[str, Any]]
"""Rows of cells by the heads of their columns."""

KINDS = {
    "customer": "You as a customer",
    "contact": "Contacts with us",
    "complaint": "Complaints and other cases",
    "survey": "Surveys",
    "transaction": "Transactions",
    "account": "Accounts",
    "action": "What was done for you",
}
"""Of events, by the first part of their names; others go by that part."""
BANDS = {
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "unknown": "Not known: nothing is known that could be judged",
    "closed": "None: you are not a customer any more",
}
NAMES = {"complaint.clock-set": "Deadline set", "survey.scored": "Answer counted"}
"""Events whose names are words of ours."""
TOLD = ("customers", "customer_personal", "customer_consents", "retention_risk", "queue_items", "customer_restrictions")
"""The tables of read models that have a place on the page of their own."""
_PROFILE = ("kind", "country", "customer_since", "branch", "segment", "project_id", "manager_id", "products")
_OURS = ("preset_version",)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ border-bottom: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top }}
td {{ overflow-wrap: anywhere }}
td:first-child {{ min-width: 9em }}
.warning {{ background: #fff3cd; border: 2px solid #b8860b; font-weight: bold; padding: .6em 1em }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def page(told: Row, missing: str | None) -> str:
    """The page of one person, of what `kehu subject-access` shows; `missing` says why it is incomplete, if it is."""
    title = f"What is held on {told['customer']}"
    parts = [f'<p class="warning">This answer is incomplete. {escape(missing)}</p>'] if missing else []
    for one in told["erasures"]:
        when = f" on {said(one['ended_at'])}" if one["ended_at"] else ""
        who = escape(one["customer_id"])
        parts.append(f"<p>{who} was forgotten{when}. What was personal reads “[erased]” and is nowhere any more.</p>")
    parts.append(
        f"<p>Known as {escape(', '.join(told['known_as']))}. As of {said(told['as_of'])}. All times are in UTC.</p>"
    )
    for name, intro, rows in _sections(told):
        if rows:
            parts.append(f"<h2>{escape(name)}</h2>" + (f"\n<p>{escape(intro)}</p>" if intro else ""))
            parts.append(_table(rows))
    if rest := [name for name in told["read_models"] if name not in TOLD]:
        names = ", ".join(name.replace("_", " ") for name in rest)
        parts.append(
            "<h2>What is not on this page</h2>\n<p>What is counted and listed from the events above repeats them in"
            f" another form: {escape(names)}. It, and all technical details, are in the same answer as a data file"
            " (JSON): ask for it.</p>"
        )
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def _sections(told: Row) -> Iterator[tuple[str, str, Table]]:
    """Title, introduction and rows of each part, in the order of the page; there may be no rows."""

    def held(name: str) -> Sequence[Row]:
        found: Sequence[Row] = told["read_models"].get(name, ())
        return found

    yield "Who you are", "", [*_profile(held("customers")), *_fields(held("customer_personal"))]
    yield (
        "What you agreed to",
        "",
        _columns(
            held("customer_consents"), purpose="For", channel="By", status="You", since="Since", expires_at="Until"
        ),
    )
    yield "Whether you might leave us", _profiling(held("retention_risk")), _risk(held("retention_risk"))
    yield (
        "What is open, or was",
        "",
        _columns(
            held("queue_items"),
            kind="What",
            case_type="Kind",
            status="Now",
            queue="Team",
            opened_at="Since",
            statutory_due="To be answered by law until",
            service_due="We want to answer until",
            resolved_at="Resolved",
        ),
    )
    for kind in dict.fromkeys([*KINDS, *(_kind(event) for event in told["events"])]):
        rows = [_event(event) for event in told["events"] if _kind(event) == kind]
        yield KINDS.get(kind, word(kind)), "", rows
    yield (
        "Messages that wait for something before they count",
        "",
        [_message(one, "parked_at") for one in told["waiting"]],
    )
    yield "Messages that could not be taken", "", [_message(one, "died_at") for one in told["dead_letters"]]
    yield (
        "Who looked at it, and for what",
        "Every reading over our interfaces; our staff are not named here.",
        _columns(told["accesses"], at="When", client="Program", purpose="For what", path="What"),
    )
    yield (
        "What other systems were not told",
        "",
        [
            {"When": one["given_up_at"], "System": one["webhook"], "About": [*map(_named, one["rows"])]}
            for one in told["not_told"]
        ],
    )
    yield (
        "What must be kept",
        "",
        _columns(
            held("customer_restrictions"), until="Until", basis="Because of", reason="Your request", since="Since"
        ),
    )
    yield (
        "Requests to be forgotten",
        "",
        _columns(told["erasures"], begun_at="When", reason="Request", ended_at="Done"),
    )


def _profile(rows: Iterable[Row]) -> Iterator[Row]:
    """Of each id what it is filed under."""
    for row in rows:
        dates = {"registered_at": row["registered_at"], "closed_at": row["closed_at"]}
        for name, value in {**{one: row[one] for one in _PROFILE}, **dates}.items():
            if value not in (None, "", []):
                yield {"What": word(name.removesuffix("_id").removesuffix("_at")), "Value": value, "Told on": None}


def _fields(rows: Iterable[Row]) -> Iterator[Row]:
    """What is personal of each id; the values of a list are in its own row, and again in one each, to be compared."""
    for row in rows:
        if not row["item"]:
            name, _, issuer = row["field"].partition("@")
            value = orjson.loads(row["value"]) if name == "device_ids" else row["value"]
            yield {
                "What": word(name) + (f" ({issuer})" if issuer else ""),
                "Value": value,
                "Told on": row["occurred_at"],
            }


def _profiling(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    models = ", ".join(sorted({str(row["model"]) for row in rows}))
    return (
        "We estimate how likely it is that you leave us, by a model that adds points for what is listed here and turns"
        f" the sum into a probability ({models}). Points above zero raise the estimate, points below zero lower it."
    )


def _risk(rows: Iterable[Row]) -> list[Row]:
    found: list[Row] = []
    for row in rows:
        share = "" if row["probability"] is None else f", {100 * row['probability']:.1f} %"
        estimate = f"{BANDS.get(row['band'], word(row['band']))}{share}"
        found.append({"Estimate or reason": estimate, "What was seen": None, "Points": None, "As of": row["scored_at"]})
        for one in row["reasons"] or ():
            seen = str(one["value"]) + (f" ({one['window']})" if one["window"] else "")
            points = f"{float(one['points']):+.1f}"
            found.append(
                {"Estimate or reason": word(one["code"]), "What was seen": seen, "Points": points, "As of": None}
            )
    return found


def _kind(event: Row) -> str:
    return str(event["type"]).partition(".")[0]


def _event(event: Row) -> Row:
    what = NAMES.get(event["type"]) or word(str(event["type"]).replace(".", " "))
    return {"When": event["happened_at"], "What": what, "What it says": _lines(event["says"]), "From": event["source"]}


def _lines(says: Row) -> list[str]:
    """What an event says, a field a line."""
    there = {name: value for name, value in says.items() if value not in (None, "", [], ()) and name not in _OURS}
    return [f"{word(name)}: {said(value)}" for name, value in there.items()]


def _message(row: Row, at: str) -> Row:
    value = row["value"]
    text = text_of(value) if isinstance(value, bytes) else value
    return {
        "When": row[at],
        "About": word(row["topic"].removeprefix("kehu.")),
        "Why": word(row["rule"]),
        "What it says": f"[{row['unreadable']}]" if row["unreadable"] else _content(text or ""),
    }


def _content(text: str) -> str | list[str]:
    """What a message says, a field a line; as it came where it is no event."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if not isinstance(found, dict):
        return text
    data = found.get("data", found)
    return _lines(data) if isinstance(data, dict) else text


def _named(key: str) -> str:
    """The key of a row in words; one of several parts is a list as JSON."""
    return ", ".join(orjson.loads(key)) if key.startswith("[") else key


def _columns(of: Iterable[Row], /, **heads: str) -> list[Row]:
    """Some columns of rows under heads for people."""
    return [{head: row[name] for name, head in heads.items()} for row in of]


def _table(rows: Table) -> str:
    heads = [head for head in rows[0] if any(row[head] not in (None, "", []) for row in rows)]
    first = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = ("".join(f"<td>{_cell(row[head])}</td>" for head in heads) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{first}</tr>\n{body}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "<br>".join(escape(said(one)) for one in value)
    return escape(said(value))


def word(code: str) -> str:
    """A code as words: `clock-set` is `Clock set`."""
    text = code.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def said(value: Any) -> str:
    """A value as people read it: `2 March 2015, 12:00`, `-1.00 GBP`, `yes`."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):{value.astimezone(UTC).day} %B %Y, %H:%M}"
        case date():
            return f"{value:{value.day} %B %Y}"
        case {"minor": int(minor), "currency": str(currency)} if len(value) == 2:
            return money(Money(minor=minor, currency=currency))
        case Mapping():
            return "; ".join(f"{word(str(name))}: {said(one)}" for name, one in value.items() if one is not None)
        case list() | tuple():
            return ", ".join(map(said, value))
        case str() if _TIME.fullmatch(value):
            return said(datetime.fromisoformat(value))
        case str() if _DATE.fullmatch(value):
            return said(date.fromisoformat(value))
    return str(value)
