"""Where invitations and answers are counted: one cell for each, and the totals of each day beside the cells."""

from datetime import datetime
from typing import Any

from projections.declare import Key, Table
from projections.measures.times import day_of
from projections.totals import Counted

TOTALLED = ("channel", "branch", "product", "segment", "project_id", "owner")
"""The dimensions that a cell has beside its day, and that have totals."""
OUTCOMES = ("answered", "partial", "declined", "bounced")
SCORES = tuple(f"n{score}" for score in range(11))

DAILY = Table(
    name="satisfaction_daily",
    key={"day": "date", "metric": "text", "scale": "smallint", **dict.fromkeys(TOTALLED, "text")},
    columns=dict.fromkeys(("invited", *OUTCOMES, *SCORES), "integer"),
    summed=True,
    followed=True,
)
"""One cell: the invitations sent on a day (UTC) with the same dimensions; an absent dimension is ''.

`n0`…`n10` count the answers with that score, unfinished ones included.
"""

TOTALS = Table(
    name="satisfaction_totals",
    key={"dimension": "text", "day": "date", "metric": "text", "scale": "smallint", "value": "text"},
    columns=DAILY.columns,
    summed=True,
)
"""The sum of the cells of a day in which this dimension has this value. Where the dimension is '', the sum of all."""


def cell_key(event: Any, sent_at: datetime) -> Key:
    """The cell of an event that carries the dimensions of its invitation."""
    return (
        day_of(sent_at),
        event.metric,
        event.scale,
        event.channel,
        event.branch or "",
        event.product or "",
        event.segment or "",
        event.project_id or "",
        event.owner or "",
    )


COUNTED = Counted(DAILY, TOTALS, TOTALLED)
count = COUNTED.count
