"""The formulas against published and computed reference values."""

import pytest

from projections.measures import ces, ces_mean, csat, nps, response_rate, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(85, 100, 0.76716, 0.90694), (9, 10, 0.59585, 0.98212), (0, 5, 0.0, 0.43448)],
)
def test_wilson(hits: int, n: int, low: float, high: float) -> None:
    assert list(wilson(hits, n)) == pytest.approx([low, high], abs=5e-6)


@pytest.mark.parametrize(
    ("promoters", "passives", "detractors", "value", "low", "high"),
    [(60, 25, 15, 45.0, 29.34, 58.04), (5, 3, 2, 30.0, -19.05, 65.20), (10, 0, 0, 100.0, 47.50, 100.0)],
)
def test_nps(promoters: int, passives: int, detractors: int, value: float, low: float, high: float) -> None:
    measured = nps([0, 0, 0, detractors, 0, 0, 0, 0, passives, 0, promoters])
    assert measured is not None
    assert [measured.value, measured.low, measured.high] == pytest.approx([value, low, high], abs=0.006)


def test_csat_is_the_share_of_the_two_best_answers_and_hides_small_samples() -> None:
    measured = csat([0, 1, 1, 1, 3, 3])
    assert measured is not None
    assert measured.value == pytest.approx(2 / 3)
    assert (measured.n, measured.suppressed) == (9, True)
    assert csat([0] * 6) is None


def test_ces_by_both_conventions() -> None:
    histogram = [0, 0, 0, 0, 5, 5, 5, 5]
    measured = ces(histogram)
    assert measured is not None
    assert measured.value == pytest.approx(0.75)
    assert ces_mean(histogram) == pytest.approx(5.5)
    assert ces_mean([0]) is None


def test_a_bounced_invitation_does_not_count_as_sent() -> None:
    assert response_rate(40, 110, 10) == pytest.approx(0.4)
    assert response_rate(0, 3, 3) is None
