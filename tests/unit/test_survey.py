"""Survey: one invitation, one answer that counts."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain.survey import (
    RULES,
    EditWindowIsOver,
    Metric,
    Scale,
    ScaleOfAnotherMetric,
    ScoreOutsideScale,
    SurveyAnswered,
    SurveyBounced,
    SurveyDeclined,
    SurveyInvited,
    SurveyInvitedDifferently,
    SurveyNotInvitedYet,
    SurveyScored,
    SurveyWasAnswered,
)
from domain.values import BelongsToAnotherCustomer, Event
from tests.support.builders import NOON, fact
from tests.support.given import given

WINDOW = timedelta(days=RULES.latest.edit_window_days)
invited = SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app", owner="h1", branch="north")
declined = SurveyDeclined(invitation_id="i")
bounced = SurveyBounced(invitation_id="i")


def answer(score: int) -> SurveyAnswered:
    return SurveyAnswered(invitation_id="i", score=score)


def scored(score: int, previous: int | None = None) -> SurveyScored:
    return SurveyScored(
        invitation_id="i",
        metric="csat",
        scale=5,
        score=score,
        previous=previous,
        channel="app",
        owner="h1",
        invited_at=NOON,
        branch="north",
    )


def test_an_invitation_is_sent_once() -> None:
    given().when(invited).then(invited)
    given(invited, answer(3)).when(invited).then_nothing()
    given(invited).when(invited, at=NOON + timedelta(days=1)).then_refuses(SurveyInvitedDifferently)
    other = replace(invited, owner="h2")
    given(invited).when(other).then_refuses(SurveyInvitedDifferently)


@pytest.mark.parametrize(("metric", "scale"), [("csat", 10), ("csat", 7), ("nps", 5), ("nps", 7), ("ces", 10)])
def test_a_metric_on_a_scale_without_convention_is_refused(metric: Metric, scale: Scale) -> None:
    odd = SurveyInvited(invitation_id="i", metric=metric, scale=scale, channel="app")
    given().when(odd).then_refuses(ScaleOfAnotherMetric)


def test_an_answer_is_scored_with_what_was_known_when_it_was_asked() -> None:
    given(invited).when(answer(4)).then(answer(4), scored(4))


@pytest.mark.parametrize(
    ("metric", "scale", "lowest", "highest"),
    [("csat", 5, 1, 5), ("nps", 10, 0, 10), ("ces", 7, 1, 7), ("ces", 5, 1, 5)],
)
def test_the_scale_bounds_the_answer(metric: Metric, scale: Scale, lowest: int, highest: int) -> None:
    asked = SurveyInvited(invitation_id="i", metric=metric, scale=scale, channel="app")
    for score in range(11):
        when = given(asked).when(answer(score))
        if lowest <= score <= highest:
            assert [type(event) for event in when.decided()] == [SurveyAnswered, SurveyScored]
        else:
            when.then_refuses(ScoreOutsideScale)


def test_the_last_answer_inside_the_edit_window_counts() -> None:
    given(invited, answer(4)).when(answer(2), at=NOON + WINDOW).then(answer(2), scored(2, previous=4))
    too_late = NOON + WINDOW + timedelta(seconds=1)
    given(invited, answer(4)).when(answer(2), at=too_late).then_refuses(EditWindowIsOver)


def test_the_edit_window_begins_with_the_first_answer_and_not_with_the_last() -> None:
    changed = fact(answer(3), at=NOON + timedelta(days=5))
    given(invited, answer(4), changed).when(answer(2), at=NOON + timedelta(days=8)).then_refuses(EditWindowIsOver)


def test_the_same_score_again_says_nothing_new() -> None:
    given(invited, answer(4)).when(answer(4), at=NOON + timedelta(days=1)).then_nothing()


def test_an_older_answer_is_kept_but_does_not_count() -> None:
    late = fact(answer(4), at=NOON + timedelta(days=2))
    given(invited, late).when(answer(2), at=NOON + timedelta(days=1)).then(answer(2))
    older = fact(answer(2), at=NOON + timedelta(days=1))
    third = NOON + timedelta(days=3)
    given(invited, late, older).when(older.data, at=older.meta.occurred_at).then_nothing()
    given(invited, late, older).when(answer(5), at=third).then(answer(5), scored(5, previous=4))


def test_every_fact_waits_for_the_invitation() -> None:
    for early in (answer(3), declined, bounced):
        given().when(early).then_parks(SurveyNotInvitedYet)


@pytest.mark.parametrize("report", [declined, bounced])
def test_an_invitation_is_declined_or_bounces_once(report: Event) -> None:
    given(invited).when(report).then(report)
    given(invited, report).when(report).then_nothing()


def test_who_declined_may_still_answer() -> None:
    given(invited, declined).when(answer(4)).then(answer(4), scored(4))


@pytest.mark.parametrize("report", [declined, bounced])
def test_what_was_answered_neither_bounced_nor_was_declined(report: Event) -> None:
    given(invited, answer(4)).when(report).then_refuses(SurveyWasAnswered)


@pytest.mark.parametrize("data", [invited, answer(3), declined])
def test_another_customer_is_refused(data: Event) -> None:
    given(invited).when(data, customer="c2").then_refuses(BelongsToAnotherCustomer)


def test_an_unfinished_answer_can_be_finished_with_the_same_score() -> None:
    begun = SurveyAnswered(invitation_id="i", score=3, partial=True)
    later = NOON + timedelta(hours=1)
    given(invited, begun).when(answer(3), at=later).then(answer(3))
    given(invited, begun).when(replace(begun, comment="still here"), at=later).then_nothing()
    given(invited, begun, answer(3)).when(replace(answer(3), comment="again"), at=later).then_nothing()
