"""The views: which tables are published, under which name, with which columns. Data only, for whoever publishes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from domain.values import Position
from projections.customers import CUSTOMERS, PROFILES
from projections.declare import Projection, Table
from projections.retention_risk import AT_RISK, RETENTION_RISK, RISK
from projections.satisfaction import DAILY, SATISFACTION
from projections.service_queues import ITEMS, MISSED, SERVICE_QUEUES


@dataclass(frozen=True, slots=True)
class View:
    """A table of a read model as others see it: its key, and its columns without those that are only for its folds."""

    name: str
    projection: Projection
    table: Table
    meaning: str
    """What a row is, in one sentence."""
    without: frozenset[str] = field(default=frozenset())
    published_on: str = ""
    """Its topic, where that has another name than the view."""

    @property
    def topic(self) -> str:
        """The Kafka topic, and what the types of its events begin with: `kehu.views.retention-risk`."""
        return self.published_on or f"kehu.views.{self.name}"

    @property
    def columns(self) -> Mapping[str, str]:
        """Column -> PostgreSQL type, of what is published beside the key."""
        return {name: kind for name, kind in self.table.columns.items() if name not in self.without}


Place = Mapping[str, Any]
"""The branch and the segment of a row."""


class Update(NamedTuple):
    """What became of a row. `row` is JSON, None when the row is gone; `position` is that of its last event.

    Of a row that is gone `position` is one that the read model had when it was missing.
    """

    key: str
    """The value of the only key column; of several, a JSON array of their texts."""
    at: datetime
    position: Position
    row: str | None
    left: Sequence[Place] | None = None
    """Where the row was and is no more; of a row that is gone also its last place. None where nobody asked."""
    later: bool = False
    """It has left a place and changed again: what it is now comes with a later update."""


def seen(update: Update, there: bool, had: bool) -> Update | None:
    """What a reader is told who may see some rows only; None for nothing.

    `there`: whether it may see the row as it is. `had`: whether it has the row, or may have it.
    """
    if there:
        return update
    return update._replace(row=None) if had else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Since 1970: a moment as a number, without loss."""
    return (at - _EPOCH) // _MICROSECOND


def moment(since: int) -> datetime:
    """The other way round."""
    return _EPOCH + since * _MICROSECOND


VIEWS: tuple[View, ...] = (
    View(
        "satisfaction",
        SATISFACTION,
        DAILY,
        "Invitations, answers and scores of one day (UTC), counted for each combination of dimensions.",
    ),
    View(
        "retention-risk",
        RETENTION_RISK,
        RISK,
        "How likely a customer is to leave, with reasons that add up.",
        without=frozenset({"features"}),
    ),
    View(
        "service-queues",
        SERVICE_QUEUES,
        ITEMS,
        "A contact or case in its queue, with its clocks; a contact is removed when it ends.",
        without=frozenset({"topic", "again", "late", "pauses"}),
    ),
    View(
        "customers",
        CUSTOMERS,
        PROFILES,
        "A customer as of the last fact about each field, without personal data; merges are made by whoever reads.",
    ),
    View(
        "retention-risk-alerts",
        RETENTION_RISK,
        AT_RISK,
        "A customer who is likely to leave, with what raises the risk; removed when the band is high no more.",
        published_on="kehu.alerts.retention-risk",
    ),
    View(
        "deadline-alerts",
        SERVICE_QUEUES,
        MISSED,
        "A deadline that an open case has missed, and in whose hands the case is; removed when the case is over.",
        published_on="kehu.alerts.deadlines",
    ),
)
NAMED: Mapping[str, View] = {view.name: view for view in VIEWS}
