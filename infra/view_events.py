"""A change of a view as a CloudEvent: the attributes that every transport gives it, and the whole as JSON."""

from datetime import datetime
from typing import Literal

import orjson

from projections.views import Update, View, microseconds

SOURCE = "/kehu/views/"
Happened = Literal["changed", "removed", "restarted", "complete"]
"""A row changed, or is gone; everything follows; everything was told, so that any other row is gone."""


def source_of(view: View) -> str:
    """`/kehu/views/retention-risk`."""
    return SOURCE + view.name


def type_of(view: View, happened: Happened) -> str:
    """`kehu.views.retention-risk.changed`."""
    return f"{view.topic}.{happened}"


def happened_to(update: Update) -> Happened:
    """What happened to the row of an update."""
    return "removed" if update.row is None else "changed"


def sequence_of(epoch: int, at: datetime) -> str:
    """Greater, as text, for the newer one of two messages about a row that came the same way.

    `epoch` rises whenever rows of another build are told.
    """
    return f"{epoch:010}.{microseconds(at):016}"


def structured(view: View, epoch: int, update: Update) -> bytes:
    """An update as a CloudEvent in JSON; the row is its data, and what is removed has none."""
    sequence = sequence_of(epoch, update.at)
    said = orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{sequence}/{update.key}",
            "source": source_of(view),
            "type": type_of(view, happened_to(update)),
            "subject": update.key,
            "time": update.at,
            # As text: an integer of CloudEvents has 32 bits.
            "position": str(update.position),
            "projectionversion": str(view.projection.version),
            "sequence": sequence,
        }
    )
    if update.row is None:
        return said
    # The row is JSON already: it is not read to be written again.
    return said[:-1] + b',"datacontenttype":"application/json","data":' + update.row.encode() + b"}"


def notice(view: View, epoch: int, at: datetime, happened: Literal["restarted", "complete"]) -> bytes:
    """That everything follows, or was told, as a CloudEvent in JSON."""
    sequence = sequence_of(epoch, at)
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{sequence}/{happened}",
            "source": source_of(view),
            "type": type_of(view, happened),
            "time": at,
            "projectionversion": str(view.projection.version),
            "sequence": sequence,
        }
    )
