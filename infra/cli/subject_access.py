"""`kehu subject-access`: everything that is held on a person, for them."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from domain.administration import PersonShown
from infra.cli.output import cell, print_json, say
from infra.cli.reading import reading
from infra.cli.servers import Postgres, connected
from infra.cli.who import By, Reason, tell, who
from infra.erasing import UnknownCustomer
from infra.errors import KehuError
from infra.plain import json_of
from infra.postgres.questions.held import held_on, hidden_in
from infra.postgres.questions.identity import merges_around
from infra.subject_page import page
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


class Incomplete(KehuError):
    """The answer is incomplete and not to be handed out: what is personal reads [hidden]. Set KEHU_MASTER_KEY_FILE or
    KEHU_MASTER_KEY as the workers have it, and ask again."""

    exit_code = 2


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
    look through it before it is handed out. The page is for them, in words; JSON is complete. Needs the master key:
    without it what is personal shows as [hidden], and the answer says that it is incomplete (exit code 2). That it was
    shown is told in the log, as an act.

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
    error = Incomplete(f"{hidden} events and messages cannot be read here") if (hidden := hidden_in(held)) else None
    missing = None if error is None else str(error)
    about = {"customer": customer_id, "known_as": list(ids), "as_of": now, "position": position}
    told = {**about, "complete": error is None, "missing": missing, **held}
    if form is Form.json:
        print_json(told)
    elif form is Form.html:
        typer.echo(page(told, missing), nl=False)
    else:
        _print(told)
    if error is not None:
        raise error


def _tables(told: Row) -> Iterator[tuple[str, Sequence[Row]]]:
    """Title and rows of everything that there is."""
    for part, title in TITLES.items():
        if part == "read_models":
            for name, rows in told[part].items():
                yield f"{title}: {name.replace('_', ' ')}", rows
        elif told[part]:
            yield title, told[part]


def _print(told: Row) -> None:
    say(f"What is held on {told['customer']}, known as {', '.join(told['known_as'])}", "bold")
    if told["missing"]:
        say(f"INCOMPLETE: {told['missing']}", "bold red")
    for name, rows in _tables(told):
        say("")
        say(name, "bold")
        for row in rows:
            told_of = (f"{column}: {_said(value)}" for column, value in row.items() if value not in (None, []))
            typer.echo("  " + "; ".join(told_of))  # a line stays one, to be searched


def _said(value: Any) -> str:
    return json_of(value).decode() if isinstance(value, dict | list | tuple) else cell(value)
