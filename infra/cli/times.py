"""Times as they are typed, in one way everywhere, and the options of lists that take them."""

from datetime import datetime
from typing import Annotated

import typer

from infra.postgres.as_of import NoSuchMoment, time_of


def moment(text: str) -> datetime:
    """A time as typed, to the day, the minute or the second, in UTC. Raises BadParameter."""
    try:
        return time_of(text.strip())
    except NoSuchMoment as error:
        raise typer.BadParameter(error.detail) from error


def at_time(meaning: str) -> object:
    """An option that takes a time."""
    return typer.Option(parser=moment, metavar="TIME", help=f"{meaning}; in UTC where it has no zone.")


Since = Annotated[datetime | None, at_time("From this time on")]
Until = Annotated[datetime | None, at_time("Before this time")]
