"""CSAT, NPS and CES of any grouping and window."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Mapping, Sequence
from datetime import date

from infra.postgres.ops import matching
from infra.postgres.questions.answer import Answer
from projections.satisfaction import DAILY, Summary, summarise, totals_that_answer

Window = tuple[date, date]
"""The first and the last day of the invitations."""
EVERYTHING: Mapping[str, str] = {}


def scores(
    answer: Answer,
    by: Sequence[str] = (),
    where: Mapping[str, str] = EVERYTHING,
    window: Window | None = None,
) -> Sequence[Summary]:
    """One summary per metric, scale and values of the dimensions in `by`, of the window's invitations or of all.

    Added up in the database, so that no more than one row per group is read: from the totals of each day when no more
    than one dimension is named, else from the cells. `where` has the values of dimensions, metric and scale.
    """
    dimension = totals_that_answer([*by, *where])
    if dimension is None:
        source = "satisfaction_daily"
    else:
        value = f", value AS {dimension}" if dimension else ""
        source = f"(SELECT *{value} FROM satisfaction_totals WHERE dimension = %(dimension)s) totals"
    names = ", ".join(dict.fromkeys(("metric", "scale", *by)))
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in DAILY.columns)
    first, last = window or (None, None)
    condition = matching(where) + (" AND day BETWEEN %(first)s AND %(last)s" if window else "")
    statement = f"SELECT {names}, {sums} FROM {source} WHERE {condition} GROUP BY {names}"
    return summarise(answer.rows(statement, {**where, "dimension": dimension, "first": first, "last": last}), by=by)
