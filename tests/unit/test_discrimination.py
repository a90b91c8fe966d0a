"""Figures of a score: vectors that can be worked out by hand, and what holds for any scores."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.measures.discrimination import (
    auc,
    brier,
    calibration_error,
    information_value,
    ks,
    psi,
    shares,
    tenths,
    woe,
)
from projections.retention_risk.model import Scaling

SCALING = Scaling(pdo=20, score=600, odds=50)


def test_scaled_points_double_the_odds_every_twenty() -> None:
    assert SCALING.factor == pytest.approx(28.8539, abs=5e-5)
    assert SCALING.offset == pytest.approx(487.1229, abs=5e-5)
    assert [SCALING.of(-log(odds)) for odds in (50, 100, 25)] == [600, 620, 580]
    assert SCALING.of(0) == 487


def test_the_area_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    assert auc([1, 2, 3, 4], [0, 0, 1, 1]) == 1.0
    assert auc([4, 3, 2, 1], [0, 0, 1, 1]) == 0.0
    assert auc([1, 1, 1, 1], [0, 1, 0, 1]) == 0.5
    assert auc([1, 2, 3, 4], [0, 1, 0, 1]) == 0.75


def test_the_widest_gap_of_both_kinds() -> None:
    assert ks([1, 2, 3, 4], [0, 0, 1, 1]) == 1.0
    assert ks([1, 2, 3, 4], [0, 1, 0, 1]) == 0.5
    assert ks([1, 1, 1, 1], [0, 1, 0, 1]) == 0.0


@pytest.mark.parametrize("figure", [auc, ks])
@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_one_kind_alone_cannot_be_told_apart(figure: object, labels: list[int]) -> None:
    assert callable(figure)
    with pytest.raises(ValueError, match="some must have left"):
        figure([1, 2], labels)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=2).filter(
        lambda p: 0 < sum(y for _, y in p) < len(p)
    )
)
def test_the_area_counts_every_pair(pairs: list[tuple[int, int]]) -> None:
    bad, good = ([s for s, y in pairs if y == kind] for kind in (1, 0))
    won = sum((b > g) + (b == g) / 2 for b in bad for g in good)
    assert auc([s for s, _ in pairs], [y for _, y in pairs]) == pytest.approx(won / len(bad) / len(good))


def test_the_stability_index() -> None:
    assert psi([0.5, 0.5], [0.5, 0.5]) == 0
    assert psi([0.5, 0.5], [0.6, 0.4]) == pytest.approx(0.1 * log(1.2) - 0.1 * log(0.8))
    assert psi([0.5, 0.5], [1.0, 0.0]) < 10, "an empty bin is not infinite"
    assert shares([1, 2, 2, 5], [2, 4]) == [0.25, 0.5, 0.25]


def test_the_weight_of_evidence_and_the_information_value() -> None:
    assert woe(50, 10, 100, 20) == pytest.approx(log(50.5 / 100.5) - log(10.5 / 20.5))
    assert woe(0, 5, 100, 20) < woe(5, 0, 100, 20)
    assert information_value([(50, 10), (50, 10)]) == pytest.approx(0)
    bins = [(80, 5), (20, 15)]
    expected = (0.8 - 0.25) * woe(80, 5, 100, 20) + (0.2 - 0.75) * woe(20, 15, 100, 20)
    assert information_value(bins) == pytest.approx(expected)


def test_calibration_compares_tenths() -> None:
    forecast, left = [0.1] * 10 + [0.9] * 10, [1] + [0] * 9 + [1] * 9 + [0]
    assert [[round(value, 9) for value in one] for one in tenths(forecast, left, 2)] == [[10, 0.1, 0.1], [10, 0.9, 0.9]]
    assert brier(forecast, left) == pytest.approx(0.09)
    assert calibration_error([0.5] * 10, [1] * 10) == pytest.approx(0.5)
