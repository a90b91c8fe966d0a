"""The windows of retention risk: each moment is measured by the version in force, and rows keep enough for all."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import ValidationError, convert
from msgspec.structs import asdict, replace

from domain.account import TransactionReversed
from domain.complaint import ComplaintReopened
from domain.rules import Versions
from domain.values import Recorded
from projections.retention_risk import COLD_START, RETENTION_RISK, Scorer
from projections.retention_risk import features as folding
from projections.retention_risk.measures import FEATURES
from projections.retention_risk.observed import features_at, trajectory
from projections.retention_risk.sheet import Features, Sheet
from projections.retention_risk.windows import WINDOWS, Kept, Measured, Windows, second_of
from tests.support.builders import NOON
from tests.support.rows import Dated, recorded
from tests.unit.test_retention_risk import ago, contacted, histories, opened, posted

DAY = timedelta(days=1)
FIRST = WINDOWS.pinned(1)
BEGINS = datetime.combine(NOON.date(), datetime.min.time(), UTC)
SECOND = replace(
    FIRST,
    version=2,
    effective_from=BEGINS.date(),
    period_days=15,
    quarter_days=60,
    month_days=45,
    year_months=8,
    salaries=2,
    salaries_within_days=70,
    sources=2,
)
BOTH = Measured(Versions("windows", (FIRST, SECOND)))
BEFORE = BEGINS - timedelta(seconds=1)


def reopened(days: float) -> Dated:
    return ComplaintReopened(complaint_id="q1", reason="again"), ago(days)


def test_a_second_version_takes_effect_from_its_date() -> None:
    """A case was reopened twice, 70 days before: within the 90 days of the first version, not the 60 of the other."""
    features = features_at(recorded(opened(80), reopened(71), reopened(70)), NOON, recorded_later=True)
    scorer = Scorer(COLD_START, BOTH)
    before, after = scorer.score(features, BEFORE), scorer.score(features, BEGINS)
    assert {one.code: one.window for one in before.reasons}["service-failed"] == "90 d"
    assert before.next_change_at == BEGINS, "a row is scored anew when other windows begin"
    assert "service-failed" not in {one.code for one in after.reasons}


def test_a_reason_tells_the_window_and_as_many_sources_as_its_version_says() -> None:
    calls = [contacted(days) for days in (400, *range(5, 9))]
    features = features_at(recorded(*calls), NOON, recorded_later=True)
    scorer = Scorer(COLD_START, BOTH)
    before, after = (
        {one.code: one for one in scorer.score(features, moment).reasons}["contact-surge"]
        for moment in (BEFORE, BEGINS)
    )
    assert (before.window, len(before.sources)) == ("30 d; 30 d against the 12 months before", 3)
    assert (after.window, len(after.sources)) == ("45 d; 45 d against the 8 months before", 2)
    assert after.sources == before.sources[-2:], "the latest"


def test_each_version_has_its_own_number_of_regular_salaries() -> None:
    """Three within 100 days by the first version, two within 70 by the other: of 200, 40 and 20 days ago only these."""
    salaries = [posted(days, "salary", 3000_00, n=days) for days in (200, 40, 20)]
    features = features_at(recorded(*salaries), NOON, recorded_later=True)
    measure = FEATURES["salary_stop_days"].measure
    days = [measure(Sheet(features, second_of(at), BOTH), ())[0] for at in (BEFORE, BEGINS)]
    assert days == [None, 20]


def test_the_history_of_a_score_has_the_change_of_windows() -> None:
    events = recorded(opened(80), reopened(71), reopened(70))
    changes = list(trajectory(events, Scorer(COLD_START, BOTH), NOON, recorded_later=True))
    assert (changes[-1].at, changes[-1].because) == (BEGINS, None)


def test_new_windows_are_a_new_version_of_the_projection() -> None:
    """Rows folded before kept too little for them, or do not know when they begin.

    Write down here, for each version of the windows, the version of the projection that has had them from its start.
    """
    since = {1: 1}
    assert since.keys() == {one.version for one in WINDOWS}
    assert RETENTION_RISK.version >= max(since.values())


def alone(rule: Windows) -> Measured:
    return Measured(Versions("windows", (replace(rule, effective_from=date(1970, 1, 1)),)))


def beside(rule: Windows, other: Windows) -> Measured:
    """The first one in force; the other one, for which rows have to keep enough, is not yet."""
    never = date(9000, 1, 1)
    first = replace(rule, version=1, effective_from=date(1970, 1, 1))
    return Measured(Versions("windows", (first, replace(other, version=2, effective_from=never))))


def folded(events: list[Recorded], kept: Kept) -> Features:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "KEPT", kept)
        return features_at(events, NOON + DAY, recorded_later=True)


def measured(features: Features, at: datetime, windows: Measured) -> dict[str, Any]:
    sheet = Sheet(features, second_of(at), windows)
    return {
        name: (feature.measure(sheet, ()), feature.sources(sheet), feature.over(sheet.spans))
        for name, feature in FEATURES.items()
        if feature.needs is None or feature.needs in features
    }


@settings(max_examples=80, deadline=None)
@given(histories, st.integers(0, 200), st.sampled_from([(FIRST, SECOND), (SECOND, FIRST)]))
def test_what_is_kept_for_two_versions_measures_each_like_what_is_kept_for_it_alone(
    history: list[Dated], days: int, rules: tuple[Windows, Windows]
) -> None:
    """Without reversals: these find their posting, and drop its amount, in a grain of what is kept."""
    events = [one for one in recorded(*history) if not isinstance(one.event, TransactionReversed)]
    single, both = alone(rules[0]), beside(*rules)
    one, two = folded(events, single.kept), folded(events, both.kept)
    if "seen" in one:
        at = NOON + (days + 1) * DAY
        assert measured(two, at, both) == measured(one, at, single)


@pytest.mark.parametrize("wrong", [{"quarter_days": 95}, {"month_days": 25}, {"year_months": 11}])
def test_windows_that_are_no_whole_periods_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="whole periods"):
        convert({**asdict(FIRST), **wrong}, Windows)
