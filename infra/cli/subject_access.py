"""`kehu subject-access`: everything that is held on a person, for them."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from html import escape
from typing import Annotated, Any

import typer

from domain.administration import PersonShown
from infra.cli.output import cell, print_json, say
from infra.cli.reading import reading
from infra.cli.servers import Postgres, connected
from infra.cli.who import By, Reason, tell, who
from infra.erasing import UnknownCustomer
from infra.plain import json_of
from infra.postgres.questions.held import held_on
from infra.postgres.questions.identity import merges_around
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.customers import CUSTOMERS

Row = dict[str, Any]
TITLES = {
    "events": "What happened, and what was said",
    "waiting": "Messages that wait for something",
    "dead_letters": "Messages that could not be taken",
    "read_models": "What follows from it",
    "accesses": "When it was read over HTTP, and for what",
    "not_told": "What webhooks did not take",
    "erasures": "Requests to be forgotten",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ border-bottom: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top }}
td {{ overflow-wrap: anywhere }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


class Form(StrEnum):
    """How it is written."""

    json = "json"
    html = "html"
    text = "text"


def subject_access(
    customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER")],
    postgres: Postgres = "",
    form: Annotated[Form, typer.Option("--format", help="For programs, as a page, or for a terminal.")] = Form.text,
    only: Annotated[bool, typer.Option("--only", help="Only this id, and not those that are merged with it.")] = False,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Everything that is held on a person, with what is personal in the clear: events, messages, read models.

    All ids that are merged with CUSTOMER are one person. What others said of them is in it, and so are names of staff:
    look through it before it is handed out. Needs the master key; without it what is personal shows as [hidden]. That
    it was shown is told in the log, as an act.

    Example: kehu subject-access c-100042 --format html > c-100042.html
    """
    with reading(postgres, CUSTOMERS, CUSTOMER_TIMELINE) as (answer, now):
        ids = (customer_id,) if only else merges_around(answer, customer_id)[0].members
        held = held_on(answer, ids)
        if not any(held.values()):
            raise UnknownCustomer(customer_id)
        position = answer.fresh[0].position
    with connected(postgres) as conn:
        shown = PersonShown(by=who(by), reason=reason, customer=customer_id, known_as=tuple(ids))
        tell(conn, shown)
    told = {"customer": customer_id, "known_as": list(ids), "as_of": now, "position": position, **held}
    if form is Form.json:
        print_json(told)
    elif form is Form.html:
        typer.echo(_page(f"What is held on {customer_id}", told), nl=False)
    else:
        _print(told)


def _tables(told: Row) -> Iterator[tuple[str, Sequence[Row]]]:
    """Title and rows of everything that there is."""
    for part, title in TITLES.items():
        if part == "read_models":
            for name, rows in told[part].items():
                yield f"{title}: {name.replace('_', ' ')}", rows
        elif told[part]:
            yield title, told[part]


def _page(title: str, told: Row) -> str:
    known = f"<p>Known as {escape(', '.join(told['known_as']))}; as of {told['as_of']:%Y-%m-%d %H:%M %Z}.</p>"
    parts = [known]
    for name, rows in _tables(told):
        head = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in rows[0])
        lines = ("".join(f"<td>{escape(_said(value))}</td>" for value in row.values()) for row in rows)
        body = "\n".join(f"<tr>{line}</tr>" for line in lines)
        parts.append(f"<h2>{escape(name)}</h2>\n<table><tr>{head}</tr>\n{body}</table>")
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def _print(told: Row) -> None:
    say(f"What is held on {told['customer']}, known as {', '.join(told['known_as'])}", "bold")
    for name, rows in _tables(told):
        say("")
        say(name, "bold")
        for row in rows:
            told_of = (f"{column}: {_said(value)}" for column, value in row.items() if value not in (None, []))
            typer.echo("  " + "; ".join(told_of))  # a line stays one, to be searched


def _said(value: Any) -> str:
    return json_of(value).decode() if isinstance(value, dict | list | tuple) else cell(value)
