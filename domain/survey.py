"""Survey: one invitation and what came of it. Stream `survey-{invitation_id}`."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from domain.registry import register
from domain.values import Dimensions, Event, Flag, Id, Label, StreamName, Text

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
    owner: Id | None = Field(default=None, description="who owned the case when the invitation was sent")
    about: Id | None = Field(default=None, description="the contact or complaint that it asks about")


class SurveyAnswered(Event):
    """The customer answered. A later answer inside the edit window replaces it."""

    invitation_id: Id
    score: Annotated[int, Field(strict=True, ge=0, le=10)]
    comment: Text | None = None
    partial: Flag = False


class SurveyDeclined(Event):
    """The customer does not want to answer."""

    invitation_id: Id
    reason: Label | None = None


class SurveyBounced(Event):
    """The invitation did not reach the customer."""

    invitation_id: Id
    reason: Label | None = None


class SurveyScored(Dimensions):
    """Derived: an answer with all that it is counted by, as it stood when the invitation was sent.

    `previous` is the score that this one replaces. Read models need nothing else to count it.
    """

    invitation_id: Id
    metric: Metric
    scale: Scale
    score: int
    previous: int | None
    channel: Label
    owner: Id | None
    invited_at: datetime


register("survey.invited", SurveyInvited)
register("survey.answered", SurveyAnswered)
register("survey.declined", SurveyDeclined)
register("survey.bounced", SurveyBounced)
register("survey.scored", SurveyScored, published=False)
