"""The formulas against published and computed reference values."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.measures.intervals import wilson
from projections.measures.odds import logistic
from projections.measures.staffing import agents_needed, erlang_c
from projections.measures.surveys import (
    average,
    ces,
    csat,
    csat_bottom,
    csat_change,
    mean,
    nps,
    nps_change,
    response_rate,
)

histograms = st.lists(st.integers(0, 500), min_size=11, max_size=11)


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
    assert measured.n == 9
    assert csat([0] * 6) is None


def test_ces_by_both_conventions() -> None:
    histogram = [0, 0, 0, 0, 5, 5, 5, 5]
    measured = ces(histogram)
    assert measured is not None
    assert measured.value == pytest.approx(0.75)
    assert average(histogram) == pytest.approx(5.5)
    assert average([0]) is None


def test_a_bounced_invitation_does_not_count_as_sent() -> None:
    assert response_rate(40, 110, 10) == pytest.approx(0.4)
    assert response_rate(0, 3, 3) is None


def test_a_share_without_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one answer"):
        wilson(0, 0)


def test_the_bottom_box_and_the_mean_tell_what_the_top_box_hides() -> None:
    histogram = [0, 4, 1, 0, 5, 10]
    bottom, middle = csat_bottom(histogram), mean(histogram)
    assert bottom is not None
    assert middle is not None
    assert (bottom.value, bottom.low, bottom.high) == (0.25, *wilson(5, 20))
    assert middle.value == pytest.approx(3.8)
    assert middle.high - middle.value == pytest.approx(1.959964 * 1.609184 / 20**0.5, abs=1e-5)
    assert mean([0, 0, 0, 0, 0, 1]) is None


def test_ces_counts_4_and_5_on_the_short_scale() -> None:
    measured = ces([0, 2, 2, 2, 2, 2], scale=5)
    assert measured is not None
    assert (measured.value, measured.method) == (0.4, "top share of 5")


def _nps_histogram(promoters: int, passives: int, detractors: int) -> list[int]:
    return [0, 0, 0, detractors, 0, 0, 0, 0, passives, 0, promoters]


@pytest.mark.parametrize(("promoters", "significant"), [(62, False), (75, False), (85, True)])
def test_a_change_of_nps_counts_only_beyond_chance(promoters: int, significant: bool) -> None:
    change = nps_change(_nps_histogram(60, 25, 15), _nps_histogram(promoters, 85 - promoters, 15))
    assert change is not None
    assert change.delta == pytest.approx(promoters - 60)
    assert change.significant is significant


def test_the_interval_of_a_change_adds_the_variances_of_both_periods() -> None:
    change = nps_change(_nps_histogram(60, 25, 15), _nps_histogram(5, 3, 2))
    assert change is not None
    margin = 100 * 1.959964 * ((0.75 - 0.45**2) / 100 + (0.7 - 0.3**2) / 10) ** 0.5
    assert [change.low, change.high] == pytest.approx([-15 - margin, -15 + margin])


def test_a_change_of_csat_needs_answers_in_both_periods() -> None:
    change = csat_change([0, 30, 0, 0, 0, 70], [0, 10, 0, 0, 20, 70])
    assert change is not None
    assert change.delta == pytest.approx(0.2)
    assert change.significant
    assert csat_change([0] * 6, [0, 0, 0, 0, 1, 1]) is None
    assert nps_change([0] * 11, [0] * 11) is None


@pytest.mark.parametrize(
    ("log_odds", "probability"), [(0, 0.5), (-3, 0.0474259), (1.5, 0.8175745), (800, 1.0), (-800, 0.0)]
)
def test_logistic(log_odds: float, probability: float) -> None:
    assert logistic(log_odds) == pytest.approx(probability, abs=1e-7)
    assert logistic(log_odds) + logistic(-log_odds) == pytest.approx(1)


@pytest.mark.parametrize(
    ("contacts", "handling_time", "agents", "within", "expected"),
    [
        (100, 180, 13, 20, (0.28527, 0.79559, 17.12)),
        (100, 180, 14, 20, (None, 0.88835, 7.84)),
        (360, 240, 55, 15, (0.23870, 0.84588, 8.18)),
    ],
)
def test_erlang_c(
    contacts: int, handling_time: float, agents: int, within: float, expected: tuple[float | None, float, float]
) -> None:
    staffing = erlang_c(contacts / 1800, handling_time, agents, within)
    assert staffing is not None
    waits, level, speed = expected
    assert waits is None or staffing.wait_probability == pytest.approx(waits, abs=5e-6)
    assert staffing.service_level == pytest.approx(level, abs=5e-6)
    assert staffing.speed_of_answer == pytest.approx(speed, abs=5e-3)


def test_fourteen_agents_answer_eighty_percent_in_twenty_seconds() -> None:
    staffing = agents_needed(100 / 1800, 180)
    assert staffing.agents == 14
    assert staffing.occupancy == pytest.approx(0.714, abs=5e-4)
    assert erlang_c(100 / 1800, 180, 10, 20) is None  # ten agents for a load of ten: the queue only grows
    with pytest.raises(ValueError, match="less than 1"):
        agents_needed(100 / 1800, 180, service_level=1)


@given(histograms, histograms)
def test_every_value_lies_in_its_interval_and_on_its_scale(first: list[int], second: list[int]) -> None:
    for measured, lowest, highest in ((csat(first[:6]), 0, 1), (csat_bottom(first[:6]), 0, 1), (nps(first), -100, 100)):
        if measured is not None:
            assert lowest <= measured.low <= measured.high <= highest
            assert measured.low - 1e-9 <= measured.value <= measured.high + 1e-9
    forth, back = nps_change(first, second), nps_change(second, first)
    if forth is not None:
        assert back is not None
        assert forth.delta == pytest.approx(-back.delta)
        assert forth.significant == back.significant


@given(st.floats(-50, 50), st.floats(0, 50))
def test_higher_log_odds_are_never_less_likely(log_odds: float, more: float) -> None:
    assert logistic(log_odds) <= logistic(log_odds + more)
    assert logistic(log_odds) == pytest.approx(exp(log_odds) / (1 + exp(log_odds)))
