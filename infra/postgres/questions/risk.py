"""Two models of retention risk compared over all customers."""

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappush, heapreplace
from math import sqrt
from typing import Any

from infra.postgres.querying import matching
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.customers import BANDS
from projections.measures.discrimination import psi, shares
from projections.retention_risk import Scored, Scorer

SCORED = BANDS[:3]
Filters = Mapping[str, str | None]
"""Branch, segment or manager_id -> the only value that is wanted."""
EVERYBODY: Filters = {}


@dataclass(slots=True)
class Comparison:
    """How a challenger differs from a champion, over all customers that have a score."""

    customers: int = 0
    bands: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(the champion's band, the challenger's) -> customers."""
    most: list[tuple[float, str, Row]] = field(default_factory=list)
    """Those whose probabilities differ most: by how much, who, and both scores."""
    logits: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    against_reference: tuple[float | None, float | None] = (None, None)
    """The stability index of each model: its customers here against those that it was made for."""

    def correlation(self) -> float | None:
        """Pearson's correlation of the logits; None where one of them does not vary."""
        a, b = self.logits
        mean_a, mean_b = sum(a) / max(1, len(a)), sum(b) / max(1, len(b))
        over = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
        under = sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
        return over / under if under else None

    def psi_of_bands(self) -> float | None:
        """The stability index of the bands, the champion's against the challenger's."""
        if not self.customers:
            return None
        sides = [
            [sum(n for pair, n in self.bands.items() if pair[side] == band) / self.customers for band in SCORED]
            for side in (0, 1)
        ]
        return psi(*sides)


def compared(
    answer: Answer, champion: Scorer, challenger: Scorer, now: datetime, most: int, filters: Filters = EVERYBODY
) -> Comparison:
    """Score every customer by both models as of now, or those of a branch, segment or manager.

    Features are read as they are stored, a few thousand at a time. So many are kept as differ `most`; none with 0.
    """
    found = Comparison()
    for customer, ours, theirs in _scored(answer, champion, challenger, now, filters):
        found.customers += 1
        found.bands[ours.band, theirs.band] += 1
        for logits, scored in zip(found.logits, (ours, theirs), strict=True):
            logits.append(int(1000 * (scored.logit or 0)))
        _keep(found, customer, ours, theirs, most)
    a, b = (_stability(one, logits) for one, logits in zip((champion, challenger), found.logits, strict=True))
    found.against_reference = (a, b)
    found.most.sort(key=lambda one: (-one[0], one[1]))
    return found


def both_opinions(
    answer: Answer, champion: Scorer, challenger: Scorer, now: datetime, filters: Filters = EVERYBODY
) -> Iterator[Row]:
    """What both models say of each customer, by id, as they are read: however many, in little memory."""
    for customer, ours, theirs in _scored(answer, champion, challenger, now, filters):
        yield _told(customer, ours, theirs)


def _scored(
    answer: Answer, champion: Scorer, challenger: Scorer, now: datetime, filters: Filters
) -> Iterator[tuple[str, Scored, Scored]]:
    """Each customer that both models have a score for, by id."""
    chosen = {name: value for name, value in filters.items() if value is not None}
    query = f"""SELECT customer_id, features, scored_at FROM retention_risk
        WHERE logit IS NOT NULL AND {matching(chosen)} ORDER BY customer_id"""
    for row in answer.stream(query, chosen):
        at = max(now, row["scored_at"])
        ours, theirs = champion.score(row["features"], at), challenger.score(row["features"], at)
        if ours.probability is not None and theirs.probability is not None:
            yield row["customer_id"], ours, theirs


def _gap(ours: Scored, theirs: Scored) -> float:
    return abs((ours.probability or 0.0) - (theirs.probability or 0.0))


def _keep(found: Comparison, customer: str, ours: Scored, theirs: Scored, most: int) -> None:
    gap = _gap(ours, theirs)
    if not most or (len(found.most) == most and (gap, customer) <= found.most[0][:2]):
        return
    kept = (gap, customer, _told(customer, ours, theirs))
    if len(found.most) < most:
        heappush(found.most, kept)
    else:
        heapreplace(found.most, kept)


def _told(customer: str, ours: Scored, theirs: Scored) -> Row:
    opinions = {
        f"{side}_{name}": value
        for side, scored in (("champion", ours), ("challenger", theirs))
        for name, value in (("probability", scored.probability), ("band", scored.band), ("reason", _first(scored)))
    }
    return {"customer_id": customer, "difference": round(_gap(ours, theirs), 6), **opinions}


def _first(scored: Scored) -> dict[str, Any] | None:
    if not scored.reasons:
        return None
    reason = scored.reasons[0]
    return {"code": reason.code, "points": str(reason.points), "value": reason.value}


def _stability(scorer: Scorer, logits: list[int]) -> float | None:
    reference = scorer.model.population
    return psi(reference.shares, shares(logits, reference.cuts)) if reference and logits else None
