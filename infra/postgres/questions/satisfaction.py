"""CSAT, NPS and CES of any grouping and window, how they changed, the answers themselves, and what came before them."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from domain.survey import RULES
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.totals import source_of
from projections.satisfaction import (
    COUNTED,
    DAILY,
    PERIODS,
    Difference,
    Summary,
    compare,
    summarise,
)
from projections.satisfaction_causes import CAUSES, Cause, causes
from projections.satisfaction_causes import RULES as CAUSE_RULES

Window = tuple[date, date]
"""The first and the last day of the invitations."""
Where = Mapping[str, str | int | Sequence[str]]
"""Column -> its value, or one of its values."""
EVERYTHING: Where = {}
LISTED = (
    *("invitation_id", "metric", "scale", "score", "previous", "outcome", "scored_at", "invited_at", "customer_id"),
    *("channel", "branch", "product", "segment", "project_id", "owner", "about"),
)


def scores(
    answer: Answer,
    by: Sequence[str] = (),
    where: Where = EVERYTHING,
    window: Window | None = None,
    min_n: int = RULES.latest.smallest_n,
) -> Sequence[Summary]:
    """One summary per metric, scale and values of the dimensions in `by`, of the window's invitations or of all."""
    return summarise(counters(answer, by, where, window), by=by, min_n=min_n)


def counters(answer: Answer, by: Sequence[str], where: Where, window: Window | None) -> list[Row]:
    """Added up in the database, so that no more than one row per group is read.

    From the totals of each day when no more than one dimension is named, else from the cells. `where` has the values of
    dimensions, metric and scale; `by` may name periods of days as well.
    """
    columns = {name: f"date_trunc('{name}', day)::date AS {name}" if name in PERIODS else name for name in by}
    names = ", ".join(dict.fromkeys(("metric", "scale", *by)))
    selected = ", ".join(dict.fromkeys(("metric", "scale", *columns.values())))
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in DAILY.columns)
    condition, values = _conditions(where, window)
    statement = f"SELECT {selected}, {sums} FROM {source_of(COUNTED, [*by, *where])} WHERE {condition} GROUP BY {names}"
    return answer.rows(statement, values)


def rolling(
    answer: Answer,
    by: Sequence[str],
    where: Where,
    window: Window,
    days: int,
    every: int,
    min_n: int = RULES.latest.smallest_n,
) -> Iterator[tuple[date, Summary]]:
    """Windows of so many days that end every so many days, the last on the window's last day; the oldest first.

    The first begins on the window's first day or after it.
    """
    first, last = window
    rows = counters(answer, tuple(dict.fromkeys((*by, "day"))), where, window)
    ends = [last - timedelta(days=every * n) for n in range((last - first).days // every + 1)]
    for end in reversed(ends):
        start = end - timedelta(days=days - 1)
        if start >= first:
            inside = (row for row in rows if start <= row["day"] <= end)
            yield from ((end, summary) for summary in summarise(inside, by=by, min_n=min_n))


def differences(
    answer: Answer,
    before: Window,
    after: Window,
    by: Sequence[str] = (),
    where: Where = EVERYTHING,
    min_n: int = RULES.latest.smallest_n,
) -> Sequence[Difference]:
    """Each group in two windows, and whether it changed more than chance explains."""
    earlier, later = (counters(answer, by, where, window) for window in (before, after))
    return compare(earlier, later, by=by, min_n=min_n)


def answers(
    answer: Answer, limit: int = 0, where: Where = EVERYTHING, window: Window | None = None, *, scored: bool = True
) -> Iterator[Row]:
    """So many invitations with the answers as they were given, or with 0 all of them: the newest day first.

    Only those that were answered, unless `scored` is false.
    """
    condition, values = _conditions(where, window)
    condition += " AND score IS NOT NULL" if scored else ""
    statement = f"""SELECT {", ".join(LISTED)} FROM satisfaction_invitations WHERE {condition}
        ORDER BY day DESC, invitation_id LIMIT %(limit)s"""
    return answer.page(statement, values, limit)


def causes_of(
    answer: Answer,
    where: Where = EVERYTHING,
    window: Window | None = None,
    min_n: int = RULES.latest.smallest_n,
) -> list[Cause]:
    """What came before low answers, against what came before the others, for each metric and scale."""
    condition, values = _conditions(where, window)
    counted = ", ".join(
        f"count(*) FILTER (WHERE {'NOT ' * (side == 'others')}low AND {cause}) AS {side}_{cause}"
        for side in ("low", "others")
        for cause in CAUSES
    )
    # Whoever waited longer than nine of ten of those who were asked with the same metric and waited at all.
    statement = f"""WITH asked AS (SELECT * FROM satisfaction_causes WHERE score IS NOT NULL AND {condition}),
        long AS (SELECT metric, scale, percentile_disc(%(share)s) WITHIN GROUP (ORDER BY waited) AS wait
            FROM asked GROUP BY metric, scale),
        judged AS (SELECT a.metric, a.scale, low, reopened, overdue, transferred,
                coalesce(waited > wait, false) AS waited
            FROM asked a JOIN long USING (metric, scale))
        SELECT metric, scale, count(*) FILTER (WHERE low) AS low, count(*) FILTER (WHERE NOT low) AS others, {counted}
        FROM judged GROUP BY metric, scale ORDER BY metric, scale"""
    rows = answer.rows(statement, {**values, "share": CAUSE_RULES.latest.waited_share})
    return [cause for row in rows for cause in causes(row, min_n)]


def as_row(of: Summary) -> Row:
    """A summary for people and programs, without its group."""
    measure = of.measure
    shown: Row = {
        **{name: getattr(of, name) for name in ("metric", "scale", "invited", "bounced", "declined", "answered")},
        **{name: getattr(of, name) for name in ("partial", "n", "suppressed")},
        "score": rounded(measure.value) if measure else None,
        "low": rounded(measure.low) if measure else None,
        "high": rounded(measure.high) if measure else None,
        "method": measure.method if measure else None,
    }
    for name, low, value, interval in (
        ("mean", "mean", of.mean, of.mean_interval),
        ("bottom_two", "bottom_two", of.bottom_two, of.bottom_two_interval),
        ("response", "response", of.response_rate, of.response_interval),
        ("partial_rate", "partial", of.partial_rate, of.partial_interval),
    ):
        shown[name] = rounded(value)
        shown[f"{low}_low"], shown[f"{low}_high"] = map(rounded, interval or (None, None))
    return shown


def rounded(value: float | None) -> float | None:
    """A figure to three places."""
    return None if value is None else round(value, 3)


def _conditions(where: Where, window: Window | None) -> tuple[str, dict[str, Any]]:
    parts, values = [], dict[str, Any]()
    for name, wanted in where.items():
        some = [wanted] if isinstance(wanted, str | int) else list(wanted)
        values[name] = [int(one) if name in ("scale", "score") else one for one in some]
        kind = {"scale": "smallint", "score": "smallint", "day": "date"}.get(name, "text")
        parts.append(f"{name} = ANY(%({name})s::{kind}[])")
    if window:
        values["first"], values["last"] = window
        parts.append("day BETWEEN %(first)s AND %(last)s")
    return " AND ".join(parts) or "true", values
