"""What was known of a customer at a moment, without what came later: for training, and for the history of a score.

Only events that had happened by the moment count, and of those only what had been recorded by then, so that no feature
knows more than the bank did. A history that was brought in later was recorded after all of its moments; for that one
alone `recorded_later` counts what had happened.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from domain.values import Recorded
from projections.retention_risk.features import STEPS, forget_old_days, take
from projections.retention_risk.scorecard import Scored, Scorer
from projections.retention_risk.sheet import Features

HANDLED = frozenset(STEPS)


def features_at(events: Iterable[Recorded], moment: datetime, *, recorded_later: bool = False) -> Features:
    """The features of one customer at a moment, from their events in the order of the log."""
    features: Features = {}
    for event in events:
        if event.name in STEPS and event.meta.occurred_at <= moment and (recorded_later or _known(event) <= moment):
            take(features, event)
    if features:
        forget_old_days(features)
    return features


def _known(event: Recorded) -> datetime:
    """When the bank knew of it: neither before it happened nor before it was recorded."""
    happened = event.meta.occurred_at
    return happened if event.recorded_at is None else max(happened, event.recorded_at)


class Change(NamedTuple):
    """A score from a moment on. `because` names the event that changed it; None: time passed."""

    at: datetime
    scored: Scored
    because: Recorded | None


def trajectory(
    events: Sequence[Recorded], scorer: Scorer, until: datetime, *, recorded_later: bool = False
) -> Iterator[Change]:
    """Each moment up to `until` at which the score of a customer, or a reason of it, became another one.

    By what the bank knew at each moment; with `recorded_later` by what is known today of what had happened by then.
    `events` are those of one customer in the order of the log.
    """

    def known(event: Recorded) -> datetime:
        return event.meta.occurred_at if recorded_later else _known(event)

    order = sorted((one for one in events if one.name in STEPS and known(one) <= until), key=known)
    features: Features = {}
    last: Scored | None = None
    newest = 0
    for index, event in enumerate(order):
        at, following = known(event), known(order[index + 1]) if index + 1 < len(order) else until
        if (position := event.position or 0) < newest:
            # The log has it before others that were known sooner: what it tells is told in the order of the log.
            features = {}
            for one in sorted(order[: index + 1], key=lambda one: one.position or 0):
                take(features, one)
        else:
            newest = position
            take(features, event)
        if index + 1 < len(order) and following == at:
            continue  # what became known in the same moment is shown at once
        forget_old_days(features)
        because: Recorded | None = event
        while True:
            scored = scorer.score(features, at)
            if last is None or _shown(scored) != _shown(last):
                yield Change(at.astimezone(UTC), scored, because)
                last = scored
            if scored.next_change_at is None or scored.next_change_at > following:
                break
            if scored.next_change_at == following and index + 1 < len(order):
                break
            at, because = scored.next_change_at, None


def _shown(scored: Scored) -> tuple[object, ...]:
    return scored.band, scored.logit, tuple((reason.code, reason.points) for reason in scored.reasons)
