"""Survey: one invitation and what came of it. Stream `survey-{invitation_id}`."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta as Says
from msgspec.structs import replace

from domain.errors import NotYet, Refused
from domain.personal import PersonalLabel, PersonalText
from domain.registry import register
from domain.rules import Rule, read
from domain.values import (
    Dimensions,
    Event,
    Fact,
    Flag,
    Id,
    Label,
    Meta,
    StreamName,
    Value,
    dimensions,
    fingerprint,
    require_customer,
)

Metric = Literal["csat", "nps", "ces"]
Scale = Literal[5, 7, 10]


def stream_name(invitation_id: str) -> StreamName:
    """The stream of one invitation."""
    return StreamName(f"survey-{invitation_id}")


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class SurveyInvited(Dimensions):
    """A customer was asked. `scale` is the highest answer: CSAT 1-5, NPS 0-10, CES 1-7 or 1-5."""

    invitation_id: Id
    metric: Metric
    scale: Scale
    channel: Label
    survey: Label | None = None
    owner: Annotated[Id | None, Says(description="who owned the case when the invitation was sent")] = None
    about: Annotated[Id | None, Says(description="the contact or complaint that it asks about")] = None


class SurveyAnswered(Event):
    """The customer answered. A later answer inside the edit window replaces it."""

    invitation_id: Id
    score: Annotated[int, Says(ge=0, le=10)]
    comment: PersonalText | None = None
    partial: Flag = False


class SurveyDeclined(Event):
    """The customer does not want to answer."""

    invitation_id: Id
    reason: PersonalLabel | None = None


class SurveyBounced(Event):
    """The invitation did not reach the customer."""

    invitation_id: Id
    reason: PersonalLabel | None = None


class SurveyScored(Dimensions):
    """Derived: an answer with all that it is counted by, as it stood when the invitation was sent.

    `previous` is the score that this one replaces. Read models need nothing else to count it.
    """

    invitation_id: Id
    metric: Metric
    scale: Scale
    score: int
    previous: int | None = None
    channel: Label
    owner: Id | None = None
    invited_at: datetime


class SurveyRule(Rule, frozen=True):
    """How answers are taken and shown (domain/rules/surveys.toml)."""

    edit_window_days: int
    """For how long after the first answer a later one replaces it."""
    smallest_n: int
    """With fewer answers no score is shown."""


RULES = read("surveys", SurveyRule)["surveys"]

SCALES: dict[Metric, tuple[Scale, ...]] = {"csat": (5,), "nps": (10,), "ces": (5, 7)}
"""The scales on which each metric has a convention; any other could be stored but never summed up."""

# --- state ---

Status = Literal["invited", "answered", "declined", "bounced"]


class Survey(Value):
    """One invitation: what was asked, and the answer that counts.

    `opening` and `answer` are the fingerprints of the invitation and of the last answer, to know them again when they
    are sent twice. An answer that was recorded but does not count (it is older than the one that does) leaves `score`
    and `answered_at` as they are. `partial` says that no answer so far was finished.
    """

    customer_id: str
    metric: Metric
    scale: Scale
    channel: str
    invited_at: datetime
    opening: str
    owner: str | None = None
    branch: str | None = None
    product: str | None = None
    segment: str | None = None
    project_id: str | None = None
    about: str | None = None
    score: int | None = None
    first_answered_at: datetime | None = None
    answered_at: datetime | None = None
    answer: str | None = None
    status: Status = "invited"
    partial: bool = False


def evolve(state: Survey | None, event: Event, meta: Meta) -> Survey:
    """The state after an event; never fails on what `decide` returned."""
    if isinstance(event, SurveyInvited):
        return Survey(
            meta.customer_id,
            event.metric,
            event.scale,
            event.channel,
            meta.occurred_at,
            fingerprint(event, meta.occurred_at),
            event.owner,
            event.branch,
            event.product,
            event.segment,
            event.project_id,
            event.about,
        )
    assert state is not None
    match event:
        case SurveyAnswered():
            first = state.first_answered_at or meta.occurred_at
            answer = fingerprint(event, meta.occurred_at)
            partial = event.partial and (state.partial or state.status != "answered")
            return replace(state, status="answered", first_answered_at=first, answer=answer, partial=partial)
        case SurveyScored():
            return replace(state, score=event.score, answered_at=meta.occurred_at)
        case SurveyDeclined():
            return replace(state, status="declined")
        case _:
            return replace(state, status="bounced")


# --- refusals ---


class SurveyNotInvitedYet(NotYet):
    """The invitation has not arrived yet. The answer is tried again when it does."""


class SurveyInvitedDifferently(Refused):
    """This invitation was sent before with other details. Give a new invitation a new id."""


class ScaleOfAnotherMetric(Refused):
    """The metric is never asked on this scale: CSAT has 5, NPS 10, CES 5 or 7. Invite again with the right one."""


class ScoreOutsideScale(Refused):
    """The score lies outside the scale of its invitation. Correct the score and publish it under a new id."""


class EditWindowIsOver(Refused):
    """The edit window after the first answer is over: the answer can no longer be changed. Send a new invitation."""


class SurveyWasAnswered(Refused):
    """The customer answered, so the invitation neither bounced nor was declined. Check the sender's report."""


# --- decisions ---


def lowest(metric: Metric) -> int:
    """The lowest answer of a metric: 0 for NPS, 1 for the others."""
    return 0 if metric == "nps" else 1


def _invite(state: Survey | None, data: SurveyInvited, meta: Meta) -> tuple[Event, ...]:
    if state is None:
        if data.scale not in SCALES[data.metric]:
            raise ScaleOfAnotherMetric(f"{data.metric} with scale {data.scale}")
        return (data,)
    if state.opening == fingerprint(data, meta.occurred_at):
        return ()
    raise SurveyInvitedDifferently(data.invitation_id)


def _answer(state: Survey, data: SurveyAnswered, meta: Meta) -> tuple[Event, ...]:
    if state.answer == fingerprint(data, meta.occurred_at):
        return ()
    if not lowest(state.metric) <= data.score <= state.scale:
        raise ScoreOutsideScale(f"{data.score} is not in {lowest(state.metric)}..{state.scale}")
    window = timedelta(days=RULES.at(state.invited_at).edit_window_days)
    if state.first_answered_at is not None and meta.occurred_at - state.first_answered_at > window:
        raise EditWindowIsOver(data.invitation_id)
    if state.answered_at is not None and meta.occurred_at < state.answered_at:
        return (data,)  # kept, but an older answer does not replace a newer one
    if state.score == data.score:
        return (data,) if state.partial and not data.partial else ()  # the same score, finished now
    scored = SurveyScored(
        invitation_id=data.invitation_id,
        metric=state.metric,
        scale=state.scale,
        score=data.score,
        previous=state.score,
        channel=state.channel,
        owner=state.owner,
        invited_at=state.invited_at,
        **dimensions(state),
    )
    return (data, scored)


def decide(state: Survey | None, fact: Fact) -> tuple[Event, ...]:
    """What a fact means for this invitation; empty when it says nothing new. Raises NotYet or Refused."""
    data = fact.data
    if state is not None:
        require_customer(state.customer_id, fact)
    if isinstance(data, SurveyInvited):
        return _invite(state, data, fact.meta)
    if state is None:
        raise SurveyNotInvitedYet(fact.meta.event_id)
    if isinstance(data, SurveyAnswered):
        return _answer(state, data, fact.meta)
    if state.status == "answered":
        raise SurveyWasAnswered(fact.meta.event_id)
    wanted = "declined" if isinstance(data, SurveyDeclined) else "bounced"
    return () if state.status == wanted else (data,)


register("survey.invited", SurveyInvited)
register("survey.answered", SurveyAnswered)
register("survey.declined", SurveyDeclined)
register("survey.bounced", SurveyBounced)
register("survey.scored", SurveyScored, published=False)
