"""When complaints of one product, cause and branch are more than their own year lets expect."""

from datetime import date, timedelta
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.measures.rates import poisson_tail
from projections.outcomes.causes import Periods, RootCauses, periods_until, root_causes
from projections.outcomes.rules import CODES, meaning
from projections.outcomes.summaries import Window

LAST = date(2026, 3, 1)
YEAR = periods_until(LAST, date(2020, 1, 1))


def judged(count: int, before: int, periods: Periods = YEAR) -> RootCauses:
    return root_causes([("card", "fees", "Leeds", count, before)], periods)


def test_a_year_is_twelve_periods_of_28_days_before_the_last_one() -> None:
    assert YEAR.last == Window(LAST - timedelta(days=27), LAST)
    assert YEAR.before is not None
    assert (YEAR.number, YEAR.before.days) == (12, 12 * 28)
    assert YEAR.before.last == YEAR.last.first - timedelta(days=1)


@pytest.mark.parametrize(
    ("count", "before", "state"),
    # The mean of 48 in twelve periods is 4, so the limit is 4 + 3 * 2 = 10; the mean 1 of twelve gives 4.
    [(10, 48, "usual"), (11, 48, "alert"), (5, 12, "alert"), (4, 0, "usual"), (5, 0, "new"), (0, 48, "usual")],
)
def test_an_alert_is_above_the_mean_and_three_of_its_roots(count: int, before: int, state: str) -> None:
    [cluster] = judged(count, before).clusters
    assert cluster.state == state
    assert cluster.threshold == pytest.approx(before / 12 + 3 * sqrt(before / 12))


def test_a_few_complaints_are_no_cluster_however_rare_they_were() -> None:
    """Four after one in a year are above the limit, and are still only four."""
    [cluster] = judged(4, 1).clusters
    assert (cluster.state, cluster.count > cluster.threshold) == ("usual", True)


def test_days_before_the_first_complaint_are_no_days_without_complaints() -> None:
    """After 100 days there are two whole periods before the last one; after 112 there are three."""
    early = periods_until(LAST, LAST - timedelta(days=99))
    assert early.number == 2
    [cluster] = judged(50, 2, early).clusters
    assert cluster.state == "too early"
    enough = periods_until(LAST, LAST - timedelta(days=111))
    assert enough.number == 3
    [cluster] = judged(50, 6, enough).clusters
    assert (cluster.mean, cluster.state) == (2, "alert")


def test_nothing_is_known_without_any_complaint() -> None:
    none = periods_until(LAST, None)
    assert (none.before, none.number) == (None, 0)
    assert root_causes([], none).looked_at == 0


def test_alerts_come_first_and_the_farthest_above_first_among_them() -> None:
    counts = [("a", 6, 12), ("b", 40, 48), ("c", 4, 48), ("d", 7, 0), ("e", 9, 12)]
    found = root_causes([(product, "", "", count, before) for product, count, before in counts], YEAR)
    assert [(one.product, one.state) for one in found.clusters] == [
        ("b", "alert"),
        ("e", "alert"),
        ("a", "alert"),
        ("d", "new"),
        ("c", "usual"),
    ]
    assert (found.looked_at, found.alerts) == (5, 4)


def test_it_is_told_how_many_alerts_would_be_chance() -> None:
    """Of 1,000 clusters with a mean of 4, an alert is 11 or more: 2.8 of them if nothing changed."""
    found = root_causes([("card", str(n), "Leeds", 4, 48) for n in range(1000)], YEAR)
    assert found.by_chance == pytest.approx(1000 * poisson_tail(11, 4.0))
    assert found.by_chance == pytest.approx(2.84, abs=0.01)
    assert found.alerts == 0


@given(st.integers(0, 400), st.integers(0, 4000))
def test_more_complaints_never_end_an_alert(count: int, before: int) -> None:
    [fewer], [more] = judged(count, before).clusters, judged(count + 1, before).clusters
    if fewer.state in ("alert", "new"):
        assert more.state == fewer.state


def test_codes_are_told_by_their_lists_and_unknown_ones_are_unknown() -> None:
    assert meaning("charges_performance") == ("fca_cause", "information, sums, charges or product performance")
    assert meaning("contract_terms") == ("jrt0169_cause", "contract terms")
    assert meaning("a cause of our own") is None
    assert meaning("") is None
    assert all(versions.latest.codes for versions in CODES.values())
