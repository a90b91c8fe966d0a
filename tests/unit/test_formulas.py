"""Formulas against SciPy, which knows nothing of ours: whoever cited a paper wrongly would fail here."""

from collections import Counter
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from projections.measures.intervals import Z, benjamini_hochberg, risk_ratio, wilson
from projections.measures.rates import EXACT_BELOW, Sample, mean_change, poisson_interval, poisson_tail, rate_ratio
from projections.measures.survival import kaplan_meier

CHI2 = Z * Z
few = settings(max_examples=40, deadline=None)
varied = st.lists(st.integers(0, 9_000), min_size=3, max_size=30).filter(lambda values: len({*values}) > 1)


def garwood(count: int) -> tuple[float, float]:
    """Exact limits by the quantiles of chi square, which is how Garwood has them; ours solve for the tail."""
    low = float(stats.chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return low, float(stats.chi2.ppf(0.975, 2 * count + 2)) / 2


@pytest.mark.parametrize("count", range(EXACT_BELOW))
def test_few_events_have_garwoods_interval(count: int) -> None:
    assert poisson_interval(count) == pytest.approx(garwood(count), abs=1e-6)


@pytest.mark.parametrize("count", [*range(EXACT_BELOW, 40), 100, 1_000, 100_000])
def test_byars_interval_is_garwoods_to_two_thousandths_of_its_width(count: int) -> None:
    exact = garwood(count)
    assert poisson_interval(count) == pytest.approx(exact, abs=2e-3 * (exact[1] - exact[0]))


@few
@given(st.integers(0, 200), st.floats(0.01, 150))
def test_the_tail_of_a_poisson_count(least: int, mean: float) -> None:
    assert poisson_tail(least, mean) == pytest.approx(float(stats.poisson.sf(least - 1, mean)), abs=1e-9)


@few
@given(st.integers(1, 3_000), st.data())
def test_wilsons_interval(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


@few
@given(st.integers(1, 500), st.integers(1, 500), st.floats(1, 1e5), st.floats(1, 1e5))
def test_the_score_interval_of_a_ratio_is_where_pearsons_statistic_reaches_its_limit(
    before: int, after: int, first: float, second: float
) -> None:
    """Not by way of a share: with the ratio given, both counts are fitted, and the misfit is looked at."""

    def misfit(ratio: float) -> float:
        fitted = (before + after) / (first + ratio * second)
        expected = fitted * first, fitted * ratio * second
        return sum((seen - one) ** 2 / one for seen, one in zip((before, after), expected, strict=True)) - CHI2

    found = rate_ratio(before, first, after, second)
    assert found is not None
    value, high = found.value or inf, found.high or inf
    assert found.low == pytest.approx(optimize.brentq(misfit, value * 1e-6, value, xtol=1e-15), rel=1e-6)
    assert high == pytest.approx(optimize.brentq(misfit, value, value * 1e6, xtol=1e-15), rel=1e-6)


@few
@given(st.integers(2, 400), st.integers(2, 400), st.data())
def test_the_log_interval_of_a_ratio_of_shares(n: int, others: int, data: st.DataObject) -> None:
    hits, other_hits = data.draw(st.integers(1, n)), data.draw(st.integers(1, others))
    expected = stats.contingency.relative_risk(hits, n, other_hits, others)
    interval = expected.confidence_interval(0.95)
    assert risk_ratio(hits, n, other_hits, others) == pytest.approx(
        (expected.relative_risk, interval.low, interval.high), rel=1e-6
    )


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_false_discoveries_are_controlled_as_benjamini_and_hochberg_do(p_values: list[float]) -> None:
    adjusted = stats.false_discovery_control(p_values, method="bh")
    # Where a value lies on the limit, how it was rounded decides.
    sure = [index for index, one in enumerate(adjusted) if abs(one - 0.05) > 1e-9]
    named = benjamini_hochberg(p_values, 0.05)
    assert [named[index] for index in sure] == [bool(adjusted[index] <= 0.05) for index in sure]


@few
@given(varied, varied)
def test_the_error_of_a_change_of_means_is_welchs(first: list[int], second: list[int]) -> None:
    samples = [Sample(len(one), sum(one), sum(value * value for value in one)) for one in (first, second)]
    changed = mean_change(*samples)
    assert changed is not None
    welch = stats.ttest_ind(second, first, equal_var=False)
    assert changed.delta * Z / (changed.high - changed.delta) == pytest.approx(
        float(welch.statistic), abs=1e-6, rel=1e-6
    )


@few
@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.lists(st.integers(0, 60), max_size=40))
def test_kaplan_and_meiers_curve(finished: list[int], running: list[int]) -> None:
    curve = kaplan_meier(Counter(finished), Counter(running))
    survived = stats.ecdf(stats.CensoredData(uncensored=finished, right=running)).sf
    for time in range(62):
        assert curve.beyond(time) == pytest.approx(float(survived.evaluate(time)), abs=1e-9)
