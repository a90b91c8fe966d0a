"""Times as they are typed: their formats, the options of lists, and what is meant."""

from datetime import UTC, datetime
from typing import Annotated

import typer

SECONDS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
MINUTES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", *SECONDS[1:]]
Since = Annotated[datetime | None, typer.Option(formats=SECONDS, help="From this time (UTC) on.")]
Until = Annotated[datetime | None, typer.Option(formats=SECONDS, help="Before this time (UTC).")]


def in_utc(moment: datetime | None) -> datetime | None:
    """A time as typed, which is meant in UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)
