"""Read models as they stood at a moment, for one connection: the same folds over another part of the log."""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from consumers.filling import fill
from domain.values import Position
from infra.postgres.past import Moment, Past
from infra.postgres.risk_models import as_scored
from projections.declare import Projection, personal_for


def replay(
    conn: "psycopg.Connection[Any]",
    projections: Sequence[Projection],
    moment: Moment,
    customers: Sequence[str] = (),
    told: Callable[[int], None] = lambda _: None,
) -> Position:
    """Make these read models as they stood, for all customers or for some; returns the last position that counts.

    What a model scores is scored by the one that was the champion then. `told` hears how many events of the log were
    read since. Raises CannotFold.
    """
    names = frozenset[str]().union(*(one.handles for one in projections))
    with conn.transaction():
        scored = [as_scored(conn, one, moment.known_by or moment.happened_by) for one in projections]
    with Past.begin(conn, moment, scored, customers) as past:
        fill(scored, past.events(names, personal_for(projections), told), past)
    return past.last
