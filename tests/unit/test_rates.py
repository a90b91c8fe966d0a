"""Rates, ratios and changes against published values, and what must hold for any numbers."""

from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.measures.intervals import Z, wilson
from projections.measures.rates import (
    Sample,
    mean_change,
    poisson_interval,
    poisson_tail,
    rate,
    rate_ratio,
    share_change,
)

counts = st.integers(0, 2000)
exposures = st.floats(0.5, 1e7)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # Garwood's exact limits (1936), as statistical tables have them.
        (0, 0, 3.6889),
        (1, 0.0253, 5.5716),
        (2, 0.2422, 7.2247),
        (5, 1.6235, 11.6683),
        (9, 4.1154, 17.0848),
    ],
)
def test_few_events_have_the_exact_poisson_interval(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(10, 4.795, 18.390), (20, 12.217, 30.888), (50, 37.111, 65.919), (100, 81.364, 121.627)],
)
def test_byars_interval_is_close_to_the_exact_one(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), rel=2e-3)


@given(counts)
def test_the_interval_of_a_count_holds_it_and_grows_with_it(count: int) -> None:
    low, high = poisson_interval(count)
    assert low <= count < high
    above_low, above_high = poisson_interval(count + 1)
    assert low <= above_low
    assert high < above_high


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        poisson_interval(-1)


def test_a_rate_is_per_thousand_with_the_interval_of_its_count() -> None:
    measured = rate(5, 2500.0)
    assert measured is not None
    assert (measured.value, measured.n) == (2.0, 5)
    assert (measured.low, measured.high) == pytest.approx((1.6235 / 2.5, 11.6683 / 2.5), abs=1e-4)
    assert rate(5, 0) is None


@pytest.mark.parametrize(
    ("least", "mean", "probability"),
    # 1 - P(X < least): from the series by hand, and the smallest and greatest ends.
    [(1, 1.0, 0.6321206), (3, 2.0, 0.3233236), (0, 0.0, 1.0), (1, 0.0, 0.0), (10, 3.0, 0.0011025)],
)
def test_the_tail_of_a_poisson_count(least: int, mean: float, probability: float) -> None:
    assert poisson_tail(least, mean) == pytest.approx(probability, abs=1e-7)


@pytest.mark.parametrize(
    ("hits", "n", "hits_2", "n_2", "delta", "low", "high"),
    # Newcombe (1998), table II, method 10; there the first sample comes first.
    [
        (48, 80, 56, 70, 0.2, 0.0524, 0.3339),
        (3, 10, 9, 10, 0.6, 0.1705, 0.8090),
        (2, 7, 6, 7, 0.5714, 0.0582, 0.8062),
        (0, 29, 5, 56, 0.0893, -0.0381, 0.1926),
        (0, 20, 0, 10, 0.0, -0.1611, 0.2775),
        (0, 10, 10, 10, 1.0, 0.6075, 1.0),
    ],
)
def test_a_change_of_a_share(hits: int, n: int, hits_2: int, n_2: int, delta: float, low: float, high: float) -> None:
    changed = share_change(hits, n, hits_2, n_2)
    assert changed is not None
    assert (changed.delta, changed.low, changed.high) == pytest.approx((delta, low, high), abs=5e-5)
    assert changed.significant == (low > 0 or high < 0)


def test_a_share_of_nothing_has_no_change() -> None:
    assert share_change(0, 0, 5, 10) is None
    assert share_change(5, 10, 0, 0) is None


def test_a_ratio_of_rates() -> None:
    """Rothman's breast cancers after fluoroscopy: 41 in 28,010 woman-years against 15 in 19,017, a ratio of 1.86."""
    ratio = rate_ratio(15, 19_017, 41, 28_010)
    assert ratio is not None
    assert ratio.value == pytest.approx(1.8558, abs=1e-4)
    # The Wald interval of the logarithm is 1.027 to 3.353; the score interval is close to it.
    assert (ratio.low, ratio.high) == pytest.approx((1.027, 3.353), rel=0.02)
    assert ratio.significant


def test_the_bounds_of_a_ratio_are_where_the_score_test_would_just_reject() -> None:
    """By the definition of the interval: z of the later count is 1.96 when the bound is the true ratio."""
    before, after, exposure_before, exposure_after = 12, 30, 800.0, 1100.0
    ratio = rate_ratio(before, exposure_before, after, exposure_after)
    assert ratio is not None
    assert ratio.high is not None
    for bound, sign in ((ratio.low, 1), (ratio.high, -1)):
        share = bound * exposure_after / (exposure_before + bound * exposure_after)
        n = before + after
        z = (after - n * share) / (n * share * (1 - share)) ** 0.5
        assert z == pytest.approx(sign * Z, abs=1e-9)


def test_a_ratio_with_a_count_of_zero_has_one_bound() -> None:
    ratio = rate_ratio(0, 100, 8, 100)
    assert ratio is not None
    assert (ratio.value, ratio.high) == (None, None)
    assert all(one.high is None for n in range(1, 300) if (one := rate_ratio(0, 0.7 * n, n, 1.3)))
    assert ratio.low > 1
    assert ratio.significant
    gone = rate_ratio(8, 100, 0, 100)
    assert gone is not None
    assert (gone.value, gone.low) == (0, 0)
    assert gone.high is not None
    assert gone.high < 1
    assert rate_ratio(0, 100, 0, 100) is None
    assert rate_ratio(1, 0, 1, 100) is None


@given(st.integers(1, 500), st.integers(1, 500), exposures, exposures)
def test_a_ratio_turned_round_is_its_reciprocal(before: int, after: int, first: float, second: float) -> None:
    one, other = rate_ratio(before, first, after, second), rate_ratio(after, second, before, first)
    assert one is not None
    assert other is not None
    assert one.value is not None
    assert other.value is not None
    assert other.high is not None
    assert isclose(one.value * other.value, 1, rel_tol=1e-9)
    assert isclose(one.low * other.high, 1, rel_tol=1e-6)
    assert one.low <= one.value
    assert one.significant == other.significant


@given(
    st.lists(st.integers(0, 86_400), min_size=2, max_size=30), st.lists(st.integers(0, 86_400), min_size=2, max_size=30)
)
def test_a_mean_from_sums_is_the_mean_of_the_values(first: list[int], second: list[int]) -> None:
    def sample(values: list[int]) -> Sample:
        return Sample(len(values), sum(values), sum(value * value for value in values))

    def error(values: list[int]) -> float:
        mean = sum(values) / len(values)
        return sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)

    changed = mean_change(sample(first), sample(second))
    assert changed is not None
    assert changed.delta == pytest.approx(sum(second) / len(second) - sum(first) / len(first), abs=1e-6)
    half = Z * (error(first) + error(second)) ** 0.5
    assert changed.high - changed.delta == pytest.approx(half, abs=1e-4)


def test_one_value_has_no_interval() -> None:
    assert mean_change(Sample(1, 60, 3600), Sample(9, 540, 32_400)) is None
    assert Sample(0, 0, 0).mean is None


def test_two_counts_of_one_exposure_are_shares_of_their_sum() -> None:
    ratio = rate_ratio(20, 50, 30, 50)
    low, high = wilson(30, 50)
    assert ratio is not None
    assert (ratio.low, ratio.high) == pytest.approx((low / (1 - low), high / (1 - high)))
