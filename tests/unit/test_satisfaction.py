"""Satisfaction: every invitation counts once, and any grouping of the counts gives the metrics of their sum."""

from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import convert

from domain.survey import SurveyAnswered, SurveyBounced, SurveyDeclined, SurveyInvited, SurveyScored
from domain.values import Event
from projections.satisfaction import (
    COUNTED,
    DAILY,
    INVITATIONS,
    OUTCOMES,
    SATISFACTION,
    SCORES,
    TOTALLED,
    TOTALS,
    summarise,
)
from tests.support.builders import NOON
from tests.support.rows import Dated, decided, fold, recorded


def invited(number: object = 1, metric: str = "csat", scale: int = 5, **more: Any) -> SurveyInvited:
    asked = {"invitation_id": f"i{number}", "metric": metric, "scale": scale, "channel": "app"}
    return convert(asked | more, SurveyInvited)


def cells(*facts: Event | Dated) -> list[dict[str, Any]]:
    return fold(SATISFACTION, decided(*facts)).whole(DAILY)


def counted(cell: dict[str, Any]) -> dict[str, int]:
    return {name: cell[name] for name in DAILY.columns if cell[name]}


def test_an_invitation_and_its_answer_count_in_the_cell_of_the_invitation() -> None:
    asked = invited(branch="b1", product="card", segment="mass", project_id="p1", owner="h1")
    [cell] = cells(asked, (SurveyAnswered(invitation_id="i1", score=4), NOON + timedelta(days=3)))
    assert counted(cell) == {"invited": 1, "answered": 1, "n4": 1}
    assert [cell[name] for name in DAILY.key] == [NOON.date(), "csat", 5, "app", "b1", "card", "mass", "p1", "h1"]


def test_an_absent_dimension_is_empty() -> None:
    [cell] = cells(invited())
    assert [cell[name] for name in ("branch", "product", "segment", "project_id", "owner")] == [""] * 5


def test_the_day_is_that_of_utc() -> None:
    early = datetime(2026, 3, 2, 6, 0, tzinfo=timezone(timedelta(hours=8)))
    [cell] = cells((invited(), early))
    assert cell["day"] == date(2026, 3, 1)


def test_a_changed_answer_replaces_the_earlier_one() -> None:
    [cell] = cells(invited(), SurveyAnswered(invitation_id="i1", score=1), SurveyAnswered(invitation_id="i1", score=5))
    assert counted(cell) == {"invited": 1, "answered": 1, "n5": 1}


def test_an_unfinished_answer_that_is_finished_later_counts_as_answered() -> None:
    first = SurveyAnswered(invitation_id="i1", score=2, partial=True)
    assert counted(cells(invited(), first)[0]) == {"invited": 1, "partial": 1, "n2": 1}
    [cell] = cells(invited(), first, SurveyAnswered(invitation_id="i1", score=3))
    assert counted(cell) == {"invited": 1, "answered": 1, "n3": 1}


def test_an_answer_after_a_refusal_or_a_bounce_replaces_it() -> None:
    for report in (SurveyDeclined(invitation_id="i1"), SurveyBounced(invitation_id="i1")):
        [cell] = cells(invited(), report, SurveyAnswered(invitation_id="i1", score=5))
        assert counted(cell) == {"invited": 1, "answered": 1, "n5": 1}


def test_a_bounce_after_an_answer_changes_nothing() -> None:
    events = recorded(invited(), SurveyAnswered(invitation_id="i1", score=5), SurveyBounced(invitation_id="i1"))
    [cell] = fold(SATISFACTION, events).whole(DAILY)
    assert counted(cell) == {"invited": 1, "answered": 1}


def scores(metric: str, scale: int, *given: tuple[int, int], **more: Any) -> list[dict[str, Any]]:
    """Cells with so many answers of each score."""
    facts: list[Event] = []
    for score, times in given:
        for n in range(times):
            facts += [invited(f"{score}-{n}", metric, scale, **more)]
            facts += [SurveyAnswered(invitation_id=f"i{score}-{n}", score=score)]
    return cells(*facts)


def test_csat_is_the_share_of_the_two_best_answers_with_wilsons_interval() -> None:
    [summary] = summarise(scores("csat", 5, (5, 45), (4, 40), (3, 10), (1, 5)))
    assert summary.measure is not None
    assert (summary.measure.value, summary.n) == (0.85, 100)
    assert (summary.measure.low, summary.measure.high) == pytest.approx((0.76716, 0.90694), abs=1e-5)
    assert summary.mean == pytest.approx(4.2)
    assert summary.bottom_two == pytest.approx(0.05)
    assert summary.bottom_two_interval == pytest.approx((0.02154, 0.11175), abs=1e-5)
    assert summary.response_rate == 1.0


def test_nps_is_promoters_less_detractors() -> None:
    [summary] = summarise(scores("nps", 10, (10, 60), (7, 25), (0, 15)))
    assert summary.measure is not None
    assert summary.measure.value == pytest.approx(45)
    assert (summary.measure.low, summary.measure.high) == pytest.approx((29.34, 58.04), abs=5e-3)
    assert summary.bottom_two is None


def test_effort_is_the_share_that_found_it_easy_and_the_mean() -> None:
    [summary] = summarise(scores("ces", 7, (7, 5), (5, 5), (4, 10)))
    assert summary.measure is not None
    assert (summary.measure.value, summary.mean) == (0.5, 5.0)
    assert (summary.bottom_two, summary.bottom_two_interval) == (None, None), "a share of CSAT only"


def test_too_few_answers_are_counted_and_not_shown() -> None:
    rows = scores("csat", 5, (5, 9))
    [summary] = summarise(rows)
    assert (summary.n, summary.suppressed, summary.measure, summary.mean) == (9, True, None, None)
    [shown] = summarise(rows, min_n=9)
    assert shown.measure is not None
    assert not shown.suppressed


def test_the_response_rate_leaves_out_bounced_and_unfinished() -> None:
    facts: list[Event] = [invited(n) for n in range(5)]
    facts += [SurveyAnswered(invitation_id="i0", score=3), SurveyAnswered(invitation_id="i1", score=3, partial=True)]
    facts += [SurveyBounced(invitation_id="i2"), SurveyDeclined(invitation_id="i3")]
    [summary] = summarise(cells(*facts), min_n=4)
    assert (summary.response_rate, summary.partial_rate) == (0.25, 0.25)
    assert summary.response_interval == summary.partial_interval == pytest.approx((0.04559, 0.69936), abs=1e-5)
    assert (summary.invited, summary.bounced, summary.declined, summary.partial) == (5, 1, 1, 1)


def test_rates_of_few_invitations_that_arrived_are_not_shown() -> None:
    facts = [
        *(invited(n) for n in range(5)),
        SurveyAnswered(invitation_id="i0", score=3),
        SurveyBounced(invitation_id="i2"),
    ]
    [summary] = summarise(cells(*facts), min_n=5)
    assert (summary.response_rate, summary.response_interval) == (None, None)
    assert (summary.partial_rate, summary.partial_interval) == (None, None)
    assert (summary.invited, summary.bounced, summary.answered) == (5, 1, 1), "counts always are"
    [shown] = summarise(cells(*facts), min_n=4)
    assert (shown.response_rate, shown.partial_rate) == (0.25, 0.0)


def test_groups_are_those_asked_for_and_metrics_never_mix() -> None:
    rows = cells(invited(1, branch="a"), invited(2, branch="b"), invited(3, "nps", 10, branch="b"), invited(4))
    found = [(s.group, s.metric, s.invited) for s in summarise(rows, by=("branch",))]
    assert found == [(("",), "csat", 1), (("a",), "csat", 1), (("b",), "csat", 1), (("b",), "nps", 1)]
    assert [(s.metric, s.invited) for s in summarise(rows)] == [("csat", 3), ("nps", 1)]


def test_a_dimension_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no dimension colour"):
        summarise([], by=("colour",))


@pytest.mark.parametrize(
    ("named", "totals"),
    [
        ((), ""),
        (("day", "metric", "scale"), ""),
        (("channel",), "channel"),
        (("branch", "branch", "metric"), "branch"),
        (("owner", "day"), "owner"),
        (("channel", "branch"), None),
    ],
)
def test_totals_answer_what_names_one_dimension_at_most(named: tuple[str, ...], totals: str | None) -> None:
    assert COUNTED.answering(named) == totals


some_invited = st.builds(
    invited,
    st.integers(1, 4),
    st.just("nps"),
    st.just(10),
    channel=st.sampled_from(["app", "sms"]),
    branch=st.sampled_from(["a", None]),
    owner=st.sampled_from(["a", "h", None]),
)
some_fact = st.one_of(
    some_invited,
    st.builds(
        lambda n, score, partial: SurveyAnswered(invitation_id=f"i{n}", score=score, partial=partial),
        st.integers(1, 4),
        st.integers(0, 10),
        st.booleans(),
    ),
    st.builds(lambda n: SurveyDeclined(invitation_id=f"i{n}"), st.integers(1, 4)),
    st.builds(lambda n: SurveyBounced(invitation_id=f"i{n}"), st.integers(1, 4)),
)
facts = st.lists(some_fact, max_size=30)
over_days = st.lists(st.tuples(some_fact, st.integers(0, 3).map(lambda days: NOON + timedelta(days=days))), max_size=30)


@settings(max_examples=60, deadline=None)
@given(facts, st.sets(st.integers(0, 40)))
def test_every_invitation_has_one_outcome_and_one_score_at_most(history: list[Event], splits: set[int]) -> None:
    events = decided(*history)
    rows = fold(SATISFACTION, events, sorted(splits))
    assert rows.whole(DAILY) == fold(SATISFACTION, events).whole(DAILY)
    scored = {e.event.invitation_id for e in events if isinstance(e.event, SurveyScored)}
    total = {name: sum(cell[name] for cell in rows.whole(DAILY)) for name in DAILY.columns}
    assert sum(total[name] for name in SCORES) == len(scored)
    assert total["answered"] + total["partial"] == len(scored)
    assert sum(total[name] for name in OUTCOMES) <= total["invited"] == len(rows.whole(INVITATIONS))
    assert all(cell[name] >= 0 for cell in rows.whole(DAILY) for name in DAILY.columns)


@settings(max_examples=100, deadline=None)
@given(over_days, st.sets(st.integers(0, 40)))
def test_totals_are_the_sums_of_the_cells(history: list[Dated], splits: set[int]) -> None:
    rows = fold(SATISFACTION, decided(*history), sorted(splits))
    expected: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(DAILY.columns, 0))
    for cell in rows.whole(DAILY):
        for dimension in ("", *TOTALLED):
            value = cell[dimension] if dimension else ""
            total = expected[dimension, cell["day"], cell["metric"], cell["scale"], value]
            for name in DAILY.columns:
                total[name] += cell[name]
    found = {tuple(row[name] for name in TOTALS.key): row for row in rows.whole(TOTALS)}
    assert {key: {name: row[name] for name in DAILY.columns} for key, row in found.items()} == expected
