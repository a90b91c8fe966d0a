"""Who does what is told in the log, and why."""

from getpass import getuser
from typing import Annotated

import typer

By = Annotated[str, typer.Option("--by", help="Who does it; by default who is logged in.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is kept.")]


def who(by: str) -> str:
    """The person who is named, or who is logged in."""
    return by or getuser()
