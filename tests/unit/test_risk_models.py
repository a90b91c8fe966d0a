"""Any model: reasons add up, nothing changes before it is said to, and no score knows what came later."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import prod
from typing import Any, Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.values import Recorded
from projections.retention_risk import (
    COLD_START,
    RETENTION_RISK,
    RISK,
    Model,
    NoModel,
    Scorer,
    from_json,
    scored_by,
    to_json,
)
from projections.retention_risk.measures import FEATURES, numbers
from projections.retention_risk.model import Term
from projections.retention_risk.observed import features_at, trajectory
from projections.retention_risk.scorecard import COLD
from projections.retention_risk.windows import second_of
from tests.support.builders import NOON
from tests.support.rows import Dated, fold, recorded
from tests.unit.test_retention_risk import contacted, histories, opened, posted, resolved

DAY = timedelta(days=1)
cuts = st.lists(st.integers(-5, 400).map(float) | st.floats(-2, 3, width=16), min_size=1, max_size=4, unique=True).map(
    lambda found: tuple(sorted(found))
)


@st.composite
def terms(draw: st.DrawFn, code: str) -> Term:
    features = draw(st.lists(st.sampled_from(sorted(FEATURES)), min_size=1, max_size=2, unique=True))
    chosen = tuple(draw(cuts) for _ in features)
    bins = prod(len(one) + 2 for one in chosen)
    points = draw(st.lists(st.integers(-3000, 3000), min_size=bins, max_size=bins))
    either: tuple[Literal["left", "right"], ...] = ("left", "right")
    closed = draw(st.sampled_from(either))
    return Term(code=code, features=tuple(features), cuts=chosen, points=tuple(points), closed=closed)


@st.composite
def any_model(draw: st.DrawFn) -> Model:
    made = tuple(draw(terms(f"t{n}")) for n in range(draw(st.integers(0, 6))))
    return replace(COLD_START, name="any", base=draw(st.integers(-5000, 2000)), terms=made)


@settings(max_examples=60, deadline=None)
@given(histories, any_model())
def test_reasons_of_any_model_add_up_to_the_score_exactly(history: list[Dated], model: Model) -> None:
    [row] = fold(scored_by(to_json(model)), recorded(*history)).whole(RISK)
    reasons = row["reasons"]
    if row["band"] == "unknown":
        assert (row["logit"], row["probability"], row["score"], reasons) == (None, None, None, []), "and not zero"
        return
    assert row["logit"] == Decimal(model.base) / 1000 + sum(Decimal(one["points"]) for one in reasons)
    assert row["model"] == "any.1"
    assert row["score"] == model.scaling.of(float(row["logit"]))
    points = [Decimal(one["points"]) for one in reasons]
    assert points == sorted(points, reverse=True), "the worst first"
    assert all(one["sources"] and one["value"] and one["window"] for one in reasons)
    by_numbers = Scorer(model).thousandths(numbers(row["features"], second_of(row["scored_at"])))
    assert row["logit"] == Decimal(by_numbers) / 1000


@settings(max_examples=60, deadline=None)
@given(histories, any_model(), st.floats(0, 1))
def test_a_score_of_any_model_stays_until_it_is_said_to_change(
    history: list[Dated], model: Model, share: float
) -> None:
    scorer = Scorer(model)
    [row] = fold(RETENTION_RISK, recorded(*history)).whole(RISK)
    start, features = row["scored_at"], row["features"]
    for _ in range(25):
        here = scorer.score(features, start)
        end = here.next_change_at or start + 800 * DAY
        assert end > start
        for moment in (start + share * (end - start), end - timedelta(microseconds=1)):
            assert replace(scorer.score(features, moment), next_change_at=None) == replace(here, next_change_at=None)
        start = end


def test_a_balance_that_is_known_for_a_quarter_will_be_compared_with_itself() -> None:
    model = replace(COLD_START, terms=(Term("fall", ("balance_fall",), cuts=((0.0,),), points=(0, 500, 900)),))
    [row] = fold(RETENTION_RISK, recorded(posted(balance=100_000))).whole(RISK)
    moment: datetime | None = row["scored_at"]
    values: list[Decimal | None] = []
    while moment is not None and len(values) < 10:
        scored = Scorer(model).score(row["features"], moment)
        values.append(scored.logit)
        moment = scored.next_change_at
    assert len(set(values)) == 2, "no fall is another answer than none, and it is said when that changes"


def late(history: list[Dated], delays: list[float]) -> list[Recorded]:
    """The events, each recorded so many days after it happened, in the order in which they were recorded."""
    made = recorded(*history)
    known = sorted(zip(made, delays, strict=False), key=lambda one: one[0].meta.occurred_at + one[1] * DAY)
    return [
        replace(event, position=position, recorded_at=event.meta.occurred_at + delay * DAY)
        for position, (event, delay) in enumerate(known, 1)
    ]


delays = st.lists(st.floats(0, 60), min_size=25, max_size=25)


@settings(max_examples=60, deadline=None)
@given(histories, delays, st.floats(0, 500))
def test_a_score_knows_nothing_that_was_recorded_or_happened_later(
    history: list[Dated], delay: list[float], days: float
) -> None:
    """What was shown at a moment is what a replay of what was known then gives, whatever is added since."""
    log, moment = late(history, delay), NOON - days * DAY
    shown = [event for event in log if event.recorded_at and event.recorded_at <= moment]
    rows = fold(RETENTION_RISK, shown).whole(RISK)
    features = features_at(log, moment)
    if not rows:
        assert features == {}
        return
    replayed = [event for event in shown if event.meta.occurred_at <= moment]
    [row] = fold(RETENTION_RISK, replayed).whole(RISK)
    assert COLD.score(features, moment) == COLD.score(row["features"], moment)
    assert features == features_at(replayed, moment), "what came later changes nothing"


@settings(max_examples=30, deadline=None)
@given(histories, delays, st.booleans())
def test_each_moment_of_a_history_has_the_score_of_a_replay(
    history: list[Dated], delay: list[float], recorded_later: bool
) -> None:
    log = late(history, delay)
    until = NOON + 100 * DAY
    changes = list(trajectory(log, COLD, until, recorded_later=recorded_later))
    assert changes
    for change in changes:
        replayed = COLD.score(features_at(log, change.at, recorded_later=recorded_later), change.at)
        assert (change.scored.logit, change.scored.band) == (replayed.logit, replayed.band)
    for before, after in pairwise(changes):
        assert before.at < after.at
        just = after.at - timedelta(microseconds=1)
        then = COLD.score(features_at(log, just, recorded_later=recorded_later), just)
        assert (then.logit, then.band) == (before.scored.logit, before.scored.band), "nothing changed in between"
    now = COLD.score(features_at(log, until, recorded_later=recorded_later), until)
    assert (changes[-1].scored.logit, changes[-1].scored.band) == (now.logit, now.band)


def test_a_history_says_which_event_changed_the_score_and_when_time_did() -> None:
    events = recorded(opened(100), resolved(60, outcome="rejected"), contacted(10))
    told = [
        (round((NOON - one.at) / DAY), one.because.name if one.because else None, str(one.scored.logit))
        for one in trajectory(events, COLD, NOON)
    ]
    assert told == [
        (100, "complaint.opened", "-3.0"),
        (85, None, "-2.1"),
        (70, None, "-1.7"),
        (60, "complaint.resolved", "-2.1"),
        (40, None, "-1.6"),
        (10, "contact.queued", "-2.5"),
    ]


def changed(**fields: Any) -> bytes:
    """The cold-start model with other fields."""
    return orjson.dumps({**orjson.loads(to_json(COLD_START)), **fields})


TERM = {"code": "a", "features": ["nps"], "cuts": [[6.0]], "points": [0, 1, 2]}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (b"{", "malformed|truncated"),
        (changed(base="much"), r"Expected `int`.*base"),
        (changed(terms=[TERM | {"points": [0, 1]}]), "a: 2 points for 3 bins"),
        (changed(terms=[TERM | {"cuts": [[6.0, 6.0]], "points": [0, 1, 2, 3]}]), "a: the cuts must grow"),
        (changed(terms=[TERM, TERM]), "a code of its own"),
        (changed(terms=[TERM | {"features": []}]), "one or two features"),
        (changed(bands={"medium": 0.3, "high": 0.1}), "bands must grow"),
        (changed(scaling={"pdo": 0, "score": 600, "odds": 50}), "more than 0"),
        (changed(more=1), "unknown field"),
    ],
)
def test_a_document_that_is_no_model_is_refused_with_what_is_wrong(document: bytes, told: str) -> None:
    with pytest.raises(NoModel, match=told):
        from_json(document)


def test_a_model_with_a_feature_that_this_release_does_not_know_cannot_score() -> None:
    with pytest.raises(NoModel, match="no feature gender"):
        scored_by(changed(terms=[TERM | {"features": ["gender"]}]))


def test_a_model_is_the_same_after_it_was_written_and_read() -> None:
    assert from_json(to_json(COLD_START)) == COLD_START


def test_a_year_of_transactions_is_counted_in_periods_of_ten_days() -> None:
    [row] = fold(RETENTION_RISK, recorded(*(posted(n, n=n, minor=-n) for n in (300, 250, 40, 3)))).whole(RISK)
    found = numbers(row["features"], second_of(NOON))
    assert (found["transactions_12m"], found["amount_12m"], found["mean_amount_12m"]) == (4, 593, 593 / 4)
    assert (found["count_ratio"], found["amount_ratio"]) == (1.0, 43 / 550)
    assert found["quiet_months"] == 8
    assert found["utilisation"] is None


def test_nothing_is_measured_of_a_customer_who_is_not_known_or_left() -> None:
    assert numbers({}, 0) == {}
    assert numbers({"seen": [1, "s"], "closed": 5}, 9) == {}


def test_at_moments_with_a_zone_of_their_own() -> None:
    [change] = trajectory(recorded(contacted(0)), COLD, NOON + DAY)
    assert change.at == datetime(2026, 3, 2, 12, tzinfo=UTC)
