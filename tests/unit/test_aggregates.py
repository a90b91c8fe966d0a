"""The life cycles: each transition and each refusal, as given / when / then."""

from datetime import date, timedelta

import pytest

from domain.account import (
    TransactionNotPostedYet,
    TransactionPosted,
    TransactionPostedDifferently,
    TransactionReversed,
)
from domain.complaint import (
    ComplaintAcknowledged,
    ComplaintAssigned,
    ComplaintClosed,
    ComplaintEscalated,
    ComplaintExtended,
    ComplaintIsOver,
    ComplaintNotOpenedYet,
    ComplaintNotResolvedYet,
    ComplaintNotWaitingYet,
    ComplaintOpened,
    ComplaintOpenedDifferently,
    ComplaintReopened,
    ComplaintResolved,
    ComplaintResolvedDifferently,
    ComplaintResumed,
    ComplaintWaiting,
    ComplaintWithdrawn,
    OnwardRightsMissing,
    RedressIsNegative,
)
from domain.contact import (
    ContactAbandoned,
    ContactEnded,
    ContactIsOver,
    ContactNotQueuedYet,
    ContactNotStartedYet,
    ContactQueued,
    ContactQueuedDifferently,
    ContactStarted,
    ContactTransferred,
    ContactWasAnswered,
)
from domain.customer import (
    CustomerClosed,
    CustomerConsentChanged,
    CustomerIsClosed,
    CustomerManagerAssigned,
    CustomerNotRegisteredYet,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerRegisteredDifferently,
)
from domain.survey import (
    EditWindowIsOver,
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
from domain.values import BelongsToAnotherCustomer, Event, Money
from tests.support.builders import NOON
from tests.support.given import given

queued = ContactQueued(contact_id="k", queue="cards", channel="phone")
started = ContactStarted(contact_id="k", agent_id="a1")
ended = ContactEnded(contact_id="k", resolved=True)
abandoned = ContactAbandoned(contact_id="k")


def test_a_contact_runs_from_the_queue_to_its_end() -> None:
    given().when(queued).then(queued)
    given(queued).when(started).then(started)
    moved = ContactTransferred(contact_id="k", to_queue="loans")
    given(queued, started).when(moved).then(moved)
    given(queued, started, moved).when(ended).then_raises(ContactNotStartedYet)
    given(queued, started).when(ended).then(ended)
    given(queued).when(abandoned).then(abandoned)


@pytest.mark.parametrize(
    ("history", "again"),
    [((), queued), ((queued,), started), ((queued, started), ended), ((queued,), abandoned)],
)
def test_a_contact_that_says_the_same_twice_says_nothing_new(history: tuple[Event, ...], again: Event) -> None:
    given(*history, again).when(again).then_nothing()


def test_a_contact_refuses_what_cannot_be() -> None:
    given().when(started).then_raises(ContactNotQueuedYet)
    given(queued).when(ended).then_raises(ContactNotStartedYet)
    given(queued, started).when(abandoned).then_raises(ContactWasAnswered)
    given(queued, started, ended).when(started).then_raises(ContactIsOver)
    given(queued, started, ended).when(ContactTransferred(contact_id="k", to_queue="x")).then_raises(ContactIsOver)
    given(queued, started, ended).when(abandoned).then_raises(ContactIsOver)
    given(queued, abandoned).when(ended).then_raises(ContactIsOver)
    given(queued).when(queued, at=NOON + timedelta(hours=1)).then_raises(ContactQueuedDifferently)
    given(queued).when(started, customer="c2").then_raises(BelongsToAnotherCustomer)


opened = ComplaintOpened(complaint_id="p", channel="app")
resolved = ComplaintResolved(complaint_id="p", outcome="upheld", reasons="A fee was wrong.", onward_rights="Ombudsman.")
waiting = ComplaintWaiting(complaint_id="p", waiting_for="customer")
resumed = ComplaintResumed(complaint_id="p")
closed = ComplaintClosed(complaint_id="p")
withdrawn = ComplaintWithdrawn(complaint_id="p")
reopened = ComplaintReopened(complaint_id="p", reason="not satisfied")


@pytest.mark.parametrize(
    ("history", "next_one"),
    [
        ((), opened),
        ((opened,), ComplaintAcknowledged(complaint_id="p")),
        ((opened,), ComplaintAssigned(complaint_id="p", owner="h1")),
        ((opened,), waiting),
        ((opened, waiting), resumed),
        ((opened,), ComplaintEscalated(complaint_id="p", reason="age")),
        ((opened,), ComplaintExtended(complaint_id="p", actor="h1", reason="complex")),
        ((opened,), resolved),
        ((opened, waiting), resolved),
        ((opened, resolved), reopened),
        ((opened, resolved), closed),
        ((opened, resolved, closed), reopened),
        ((opened,), withdrawn),
        ((opened, withdrawn), closed),
    ],
)
def test_a_complaint_moves_on(history: tuple[Event, ...], next_one: Event) -> None:
    given(*history).when(next_one).then(next_one)


@pytest.mark.parametrize(
    ("history", "again"),
    [
        ((), opened),
        ((opened,), ComplaintAcknowledged(complaint_id="p")),
        ((opened,), ComplaintAssigned(complaint_id="p", owner="h1")),
        ((opened,), waiting),
        ((opened,), resolved),
        ((opened,), withdrawn),
        ((opened, resolved), closed),
    ],
)
def test_a_complaint_that_says_the_same_twice_says_nothing_new(history: tuple[Event, ...], again: Event) -> None:
    given(*history, again).when(again).then_nothing()


def test_a_complaint_parks_what_came_too_early() -> None:
    given().when(resolved).then_raises(ComplaintNotOpenedYet)
    given(opened).when(resumed).then_raises(ComplaintNotWaitingYet)
    given(opened).when(reopened).then_raises(ComplaintNotResolvedYet)
    given(opened).when(closed).then_raises(ComplaintNotResolvedYet)


def test_a_complaint_refuses_what_cannot_be() -> None:
    given(opened, resolved).when(waiting).then_raises(ComplaintIsOver)
    given(opened, resolved).when(withdrawn).then_raises(ComplaintIsOver)
    given(opened, withdrawn).when(resolved).then_raises(ComplaintIsOver)
    other = resolved.model_copy(update={"outcome": "rejected"})
    given(opened, resolved).when(other).then_raises(ComplaintResolvedDifferently)
    given(opened).when(resolved.model_copy(update={"onward_rights": None})).then_raises(OnwardRightsMissing)
    negative = resolved.model_copy(update={"redress": Money(minor=-1, currency="EUR")})
    given(opened).when(negative).then_raises(RedressIsNegative)
    given(opened).when(opened, at=NOON + timedelta(days=1)).then_raises(ComplaintOpenedDifferently)
    given(opened).when(resolved, customer="c2").then_raises(BelongsToAnotherCustomer)


invited = SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app", owner="h1", branch="north")


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


def test_an_answer_is_scored_with_what_was_known_when_it_was_sent() -> None:
    given(invited).when(answer(4)).then(answer(4), scored(4))


def test_the_last_answer_inside_the_edit_window_counts() -> None:
    given(invited, answer(4)).when(answer(2), at=NOON + timedelta(days=7)).then(answer(2), scored(2, previous=4))
    given(invited, answer(4)).when(answer(2), at=NOON + timedelta(days=7, seconds=1)).then_raises(EditWindowIsOver)
    given(invited, answer(4)).when(answer(4)).then_nothing()
    given(invited, answer(4)).when(answer(2), at=NOON - timedelta(minutes=1)).then(answer(2))


def test_a_survey_parks_an_answer_before_its_invitation_and_refuses_the_impossible() -> None:
    given().when(answer(3)).then_raises(SurveyNotInvitedYet)
    given(invited).when(answer(6)).then_raises(ScoreOutsideScale)
    given(invited).when(answer(0)).then_raises(ScoreOutsideScale)
    given(invited, answer(3)).when(SurveyBounced(invitation_id="i")).then_raises(SurveyWasAnswered)
    given(invited).when(invited, at=NOON + timedelta(days=1)).then_raises(SurveyInvitedDifferently)
    given(invited).when(answer(3), customer="c2").then_raises(BelongsToAnotherCustomer)


@pytest.mark.parametrize("report", [SurveyDeclined(invitation_id="i"), SurveyBounced(invitation_id="i")])
def test_a_survey_may_be_declined_or_bounce_once(report: Event) -> None:
    given(invited).when(report).then(report)
    given(invited, report).when(report).then_nothing()


posted = TransactionPosted(
    account_id="a", transaction_id="t", booked_on=date(2026, 3, 2), amount=Money(minor=-990, currency="EUR")
)
taken_back = TransactionReversed(account_id="a", transaction_id="t", booked_on=date(2026, 3, 2))


def test_a_transaction_is_posted_once_and_reversed_once() -> None:
    given().when(posted).then(posted)
    given(posted).when(posted).then_nothing()
    given(posted).when(taken_back).then(taken_back)
    given(posted, taken_back).when(taken_back).then_nothing()
    given().when(taken_back).then_raises(TransactionNotPostedYet)
    other = posted.model_copy(update={"amount": Money(minor=-1, currency="EUR")})
    given(posted).when(other).then_raises(TransactionPostedDifferently)
    given(posted).when(taken_back, customer="c2").then_raises(BelongsToAnotherCustomer)


registered = CustomerRegistered(name="A company", segment="smb")


def test_a_customer_changes_only_when_something_changes() -> None:
    moved = CustomerProfileChanged(segment="corporate")
    given().when(registered).then(registered)
    given(registered).when(registered).then_nothing()
    given(registered).when(moved).then(moved)
    given(registered, moved).when(moved).then_nothing()
    assigned = CustomerManagerAssigned(manager_id="m1")
    given(registered).when(assigned).then(assigned)
    given(registered, assigned).when(assigned).then_nothing()
    left = CustomerClosed()
    given(registered).when(left).then(left)
    given(registered, left).when(left).then_nothing()


def test_consent_may_be_revoked_after_the_relationship_ended() -> None:
    revoked = CustomerConsentChanged(purpose="marketing", channel="email", status="revoked")
    given(registered, CustomerClosed()).when(revoked).then(revoked)
    given(registered, revoked).when(revoked).then_nothing()


def test_a_customer_refuses_what_cannot_be() -> None:
    given().when(CustomerClosed()).then_raises(CustomerNotRegisteredYet)
    given(registered).when(CustomerRegistered(name="Another")).then_raises(CustomerRegisteredDifferently)
    given(registered, CustomerClosed()).when(CustomerProfileChanged(name="New")).then_raises(CustomerIsClosed)
