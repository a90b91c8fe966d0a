"""What changed between two periods, and what remains when many groups are looked at."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.measures.intervals import Change, benjamini_hochberg, risk_ratio
from projections.satisfaction import DAILY, SCORES, compare


def cell(metric: str, scale: int, counts: dict[int, int], **more: Any) -> dict[str, Any]:
    """Counters of one group."""
    row = dict.fromkeys([*DAILY.key, *DAILY.columns], 0) | {"day": date(2026, 1, 1), "metric": metric, "scale": scale}
    return row | {SCORES[score]: count for score, count in counts.items()} | more


def test_a_difference_has_both_periods_its_interval_and_a_verdict() -> None:
    before, after = [cell("csat", 5, {5: 60, 1: 40})], [cell("csat", 5, {5: 85, 1: 15})]
    [found] = compare(before, after)
    assert found.before is not None
    assert found.after is not None
    assert found.change is not None
    assert (found.before.n, found.after.n) == (100, 100)
    assert found.change.delta == pytest.approx(0.25)
    # sqrt(.6*.4/100 + .85*.15/100) = 0.06062; z = 4.124
    assert [found.change.low, found.change.high] == pytest.approx([0.25 - 0.11882, 0.25 + 0.11882], abs=1e-4)
    assert found.p_value == pytest.approx(3.7e-5, rel=0.02)
    assert found.significant


@pytest.mark.parametrize(("metric", "scale", "low", "high"), [("nps", 10, 0, 10), ("ces", 7, 1, 7), ("ces", 5, 1, 5)])
def test_every_metric_is_compared_by_its_own_convention(metric: str, scale: int, low: int, high: int) -> None:
    [found] = compare([cell(metric, scale, {low: 80, high: 20})], [cell(metric, scale, {low: 20, high: 80})])
    assert found.change is not None
    assert found.change.delta == pytest.approx(120.0 if metric == "nps" else 0.6)
    assert found.significant


def test_where_either_period_has_too_few_answers_there_is_no_difference() -> None:
    many, few = [cell("nps", 10, {9: 50})], [cell("nps", 10, {0: 9})]
    for before, after in ((many, few), (few, many), (many, []), ([], many)):
        [found] = compare(before, after)
        assert (found.change, found.p_value, found.significant) == (None, None, False)
    [shown] = compare(many, few, min_n=9)
    assert shown.change is not None


def test_of_many_groups_the_weakest_finding_is_left_out() -> None:
    """Alone a difference of p = 0.04 would count; among twenty groups that did not change it does not."""
    same = [cell("csat", 5, {5: 50, 1: 50}, branch=f"b{n}") for n in range(20)]
    moved = [*same[1:], cell("csat", 5, {5: 65, 1: 35}, branch="b0")]
    found = {one.group[0]: one for one in compare(same, moved, ("branch",))}
    alone = found["b0"]
    assert alone.change is not None
    assert alone.p_value is not None
    assert 0.01 < alone.p_value < 0.05
    assert alone.change.significant
    assert not any(one.significant for one in found.values())
    lenient = compare(same, moved, ("branch",), false_discoveries=0.9)
    assert [one.group[0] for one in lenient if one.significant] == ["b0"]
    [same_alone] = compare(same[:1], moved[-1:], ("branch",))
    assert same_alone.significant


def test_benjamini_and_hochberg_by_their_own_example() -> None:
    """Table 1 of the paper of 1995: fifteen p-values, of which the first four are rejected at 0.05."""
    published = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719]
    published += [0.6528, 0.7590, 1.0]
    assert benjamini_hochberg(published, 0.05) == [True] * 4 + [False] * 11
    assert benjamini_hochberg([], 0.05) == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_a_finding_counts_if_a_weaker_one_does_and_only_if_it_counts_alone(values: list[float]) -> None:
    named = benjamini_hochberg(values, 0.05)
    weakest = max((value for value, counts in zip(values, named, strict=True) if counts), default=-1.0)
    assert named == [value <= weakest for value in values]
    assert weakest <= 0.05


def test_a_risk_ratio_has_the_log_interval_of_katz() -> None:
    """20 of 100 against 10 of 100: ln 2 with a standard error of sqrt(1/20 - 1/100 + 1/10 - 1/100) = 0.3606."""
    found = risk_ratio(20, 100, 10, 100)
    assert found is not None
    assert found == pytest.approx((2.0, 0.9866, 4.0544), abs=1e-3)
    assert risk_ratio(0, 100, 10, 100) is None
    assert risk_ratio(10, 100, 0, 100) is None


def test_a_change_without_spread_is_certain_or_none() -> None:
    assert Change(0.0, 0.0, 0.0).p_value == 1.0
    assert Change(5.0, 5.0, 5.0).p_value == 0.0
