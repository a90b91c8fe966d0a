"""Kaplan-Meier against a worked example and what must hold of any curve."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.measures.survival import kaplan_meier

# The maintained group of the acute myelogenous leukaemia trial in R's survival package (`aml`), weeks; + is censored:
# 9, 13, 13+, 18, 23, 28+, 31, 34, 45+, 48, 161+. Its published curve is below.
FINISHED = {9: 1, 13: 1, 18: 1, 23: 1, 31: 1, 34: 1, 48: 1}
RUNNING = {13: 1, 28: 1, 45: 1, 161: 1}
PUBLISHED = {9: 0.909, 13: 0.818, 18: 0.716, 23: 0.614, 31: 0.491, 34: 0.368, 48: 0.184}

histograms = st.dictionaries(st.integers(0, 200), st.integers(1, 9), max_size=12)


def test_the_published_curve() -> None:
    curve = kaplan_meier(FINISHED, RUNNING)
    assert {time: round(curve.beyond(time), 3) for time in PUBLISHED} == PUBLISHED
    assert (curve.beyond(0), curve.beyond(8), curve.beyond(12), curve.beyond(1000)) == (
        1.0,
        1.0,
        curve.beyond(9),
        curve.beyond(48),
    )
    assert curve.finished == 7


def test_what_has_run_long_is_judged_by_what_ran_as_long() -> None:
    curve = kaplan_meier(FINISHED, RUNNING)
    assert curve.missed(0, 23) == pytest.approx(0.614, abs=0.001)
    assert curve.missed(18, 23) == pytest.approx(0.614 / 0.716, abs=0.001)
    assert curve.missed(23, 23) == 1.0


def test_of_what_ran_longer_than_anything_that_was_finished_nothing_is_known() -> None:
    curve = kaplan_meier({2: 3, 5: 1}, {})
    assert curve.beyond(5) == 0.0
    assert curve.missed(6, 9) is None
    assert kaplan_meier({}, {4: 2}).missed(1, 9) == 1.0


@given(finished=histograms, running=histograms)
def test_a_curve_falls_and_stays_a_share(finished: dict[int, int], running: dict[int, int]) -> None:
    curve = kaplan_meier(finished, running)
    shares = [curve.beyond(time) for time in range(210)]
    assert all(0 <= later <= earlier <= 1 for earlier, later in pairwise(shares))


@given(finished=st.dictionaries(st.integers(0, 200), st.integers(1, 9), min_size=1, max_size=12))
def test_without_anything_running_it_is_the_share_that_took_longer(finished: dict[int, int]) -> None:
    curve, n = kaplan_meier(finished, {}), sum(finished.values())
    for time in range(0, 210, 7):
        longer = sum(count for took, count in finished.items() if took > time)
        assert curve.beyond(time) == pytest.approx(longer / n)
