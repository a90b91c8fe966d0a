"""Satisfaction: answers counted per day of invitation and dimension, so that any grouping and any window adds up.

Scores are never averaged over groups: a cell keeps how often each score was given, and CSAT, NPS and CES come from the
sum of cells. An invitation has one outcome (answered, partial, declined, bounced or none yet) and one answer at most.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.values import Recorded
from projections import measures
from projections.declare import Key, Projection, Row, Rows, Table

DIMENSIONS = ("day", "channel", "branch", "product", "segment", "project_id", "owner")
"""What a summary can be grouped by, besides metric and scale, by which it always is."""
OUTCOMES = ("answered", "partial", "declined", "bounced")
SCORES = tuple(f"n{score}" for score in range(11))

DAILY = Table(
    name="satisfaction_daily",
    key={
        "day": "date",
        "metric": "text",
        "scale": "smallint",
        "channel": "text",
        "branch": "text",
        "product": "text",
        "segment": "text",
        "project_id": "text",
        "owner": "text",
    },
    columns=dict.fromkeys(("invited", *OUTCOMES, *SCORES), "integer"),
    indexes=(("metric", "day"),),
    summed=True,
)
"""One cell: the invitations sent on a day (UTC) with the same dimensions; an absent dimension is ''.

`n0`…`n10` count the answers with that score, unfinished ones included.
"""

INVITATIONS = Table(
    name="satisfaction_invitations",
    key={"invitation_id": "text"},
    columns={**DAILY.key, "outcome": "text"},
)
"""Where an invitation is counted, for what happens to it later."""

# An answer beats whatever was reported before it, a finished answer stays finished, and a bounce or a refusal that is
# reported after an answer changes nothing.
RANK = {"": 0, "bounced": 1, "declined": 2, "partial": 3, "answered": 4}


def cell_key(event: Any, sent_at: datetime) -> Key:
    """The cell of an event that carries the dimensions of its invitation."""
    return (
        sent_at.astimezone(UTC).date(),
        event.metric,
        event.scale,
        event.channel,
        event.branch or "",
        event.product or "",
        event.segment or "",
        event.project_id or "",
        event.owner or "",
    )


def _invited(rows: Rows, event: Recorded) -> None:
    invited: Any = event.event
    key = cell_key(invited, event.meta.occurred_at)
    rows.put(INVITATIONS, (invited.invitation_id,), {**dict(zip(DAILY.key, key, strict=True)), "outcome": ""})
    rows.add(DAILY, key, invited=1)


def _scored(rows: Rows, event: Recorded) -> None:
    scored: Any = event.event
    key = cell_key(scored, scored.invited_at)
    if scored.previous is not None:
        rows.add(DAILY, key, **{SCORES[scored.previous]: -1})
    rows.add(DAILY, key, **{SCORES[scored.score]: 1})


def _becomes(rows: Rows, invitation_id: str, outcome: str) -> None:
    invitation = rows.get(INVITATIONS, (invitation_id,))
    if invitation is None or RANK[outcome] <= RANK[invitation["outcome"]]:
        return
    key = tuple(invitation[name] for name in DAILY.key)
    if before := invitation["outcome"]:
        rows.add(DAILY, key, **{before: -1})
    rows.add(DAILY, key, **{outcome: 1})
    invitation["outcome"] = outcome
    rows.put(INVITATIONS, (invitation_id,), invitation)


def _answered(rows: Rows, event: Recorded) -> None:
    answered: Any = event.event
    _becomes(rows, answered.invitation_id, "partial" if answered.partial else "answered")


def _declined(rows: Rows, event: Recorded) -> None:
    declined: Any = event.event
    _becomes(rows, declined.invitation_id, "declined")


def _bounced(rows: Rows, event: Recorded) -> None:
    bounced: Any = event.event
    _becomes(rows, bounced.invitation_id, "bounced")


FOLDS: dict[str, Callable[[Rows, Recorded], None]] = {
    "survey.invited": _invited,
    "survey.answered": _answered,
    "survey.scored": _scored,
    "survey.declined": _declined,
    "survey.bounced": _bounced,
}


def keys(event: Recorded) -> tuple[tuple[Table, Key], ...]:
    """The invitation; a score is only counted."""
    data: Any = event.event
    return () if event.name == "survey.scored" else ((INVITATIONS, (data.invitation_id,)),)


def fold(rows: Rows, event: Recorded) -> None:
    """Count one event."""
    FOLDS[event.name](rows, event)


SATISFACTION = Projection(
    name="satisfaction", version=1, tables=(DAILY, INVITATIONS), handles=frozenset(FOLDS), keys=keys, fold=fold
)


# --- reading ---


@dataclass(frozen=True, slots=True)
class Summary:
    """The satisfaction of one group, for one metric and scale. `group` has the values of the dimensions asked for.

    `measure` is CSAT, NPS or CES with its interval. It is None, like `mean` and `bottom_two`, when there are fewer than
    the smallest number of answers (then `suppressed`, and `n` says how many), or no convention for metric and scale.
    """

    group: tuple[Any, ...]
    metric: str
    scale: int
    n: int
    suppressed: bool
    measure: measures.Measure | None
    mean: float | None
    bottom_two: float | None
    """Share of the two lowest answers, 0..1; None for NPS, where detractors say it."""
    invited: int
    bounced: int
    declined: int
    answered: int
    partial: int
    response_rate: float | None
    """Finished answers of the invitations that arrived, 0..1."""


def summarise(rows: Iterable[Row], *, by: Sequence[str] = (), min_n: int = measures.SMALLEST_N) -> tuple[Summary, ...]:
    """Cells of `satisfaction_daily` (with key columns) added up per metric, scale and the dimensions in `by`.

    In the order of group, metric and scale. Raises ValueError for a dimension that does not exist.
    """
    if wrong := set(by) - set(DIMENSIONS):
        raise ValueError(f"no dimension {', '.join(sorted(wrong))}: choose among {', '.join(DIMENSIONS)}")
    groups: dict[tuple[tuple[Any, ...], str, int], dict[str, int]] = {}
    for row in rows:
        key = (tuple(row[name] for name in by), row["metric"], row["scale"])
        total = groups.setdefault(key, dict.fromkeys(DAILY.columns, 0))
        for name in DAILY.columns:
            total[name] += row[name]
    return tuple(_summary(*key, total, min_n) for key, total in sorted(groups.items(), key=lambda one: one[0]))


def _summary(group: tuple[Any, ...], metric: str, scale: int, total: dict[str, int], min_n: int) -> Summary:
    histogram = [total[name] for name in SCORES]
    n = sum(histogram)
    shown = n > 0 and n >= min_n
    return Summary(
        group=group,
        metric=metric,
        scale=scale,
        n=n,
        suppressed=not shown,
        measure=_measure(metric, scale, histogram) if shown else None,
        mean=measures.average(histogram) if shown else None,
        bottom_two=sum(histogram[1:3]) / n if shown and metric != "nps" else None,
        invited=total["invited"],
        bounced=total["bounced"],
        declined=total["declined"],
        answered=total["answered"],
        partial=total["partial"],
        response_rate=measures.response_rate(total["answered"], total["invited"], total["bounced"]),
    )


def _measure(metric: str, scale: int, histogram: list[int]) -> measures.Measure | None:
    match metric, scale:
        case "csat", 5:
            return measures.csat(histogram)
        case "nps", 10:
            return measures.nps(histogram)
        case "ces", 5 | 7:
            return measures.ces(histogram, scale)
        case _:
            return None
