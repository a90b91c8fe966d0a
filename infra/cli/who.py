"""Who does what is told in the log, and why."""

from getpass import getuser
from typing import Annotated, Any

import psycopg
import typer

from domain.administration import Act
from infra import bootstrap
from infra.postgres import acts

By = Annotated[str, typer.Option("--by", help="Who does it; by default who is logged in.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is kept.")]


def who(by: str) -> str:
    """The person who is named, or who is logged in."""
    return by or getuser()


def tell(conn: "psycopg.Connection[Any]", act: Act) -> None:
    """Tell in the log what is done in this transaction, as its last step."""
    acts.record(conn, act, bootstrap.now())
