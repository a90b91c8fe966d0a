"""The read models: satisfaction, retention risk, queues, cases, and customers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field, field_validator
from starlette.responses import Response

from infra.http import answers
from infra.http.asking import Asked, Text, View, WantedMoment, WantedView, ask, moment, one
from infra.http.callers import Caller
from infra.http.parameters import Parameters
from infra.http.problems import Invalid, NotFound
from infra.http.rows import CustomerRow, ListedCaseRow, QueueRow, RiskRow, SatisfactionRow, TimelineRow
from infra.http.scopes import VIEWS
from infra.http.security import Needs, check_purpose, record
from infra.plain import json_of
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.customers import ABOUT_ONE, riskiest, timeline
from infra.postgres.questions.forecast import Forecasts
from infra.postgres.questions.identity import merges_around
from infra.postgres.questions.queues import open_cases, summaries
from infra.postgres.questions.satisfaction import as_row, scores
from infra.whole_customer import whole_of
from projections.retention_risk import RETENTION_RISK
from projections.satisfaction import DIMENSIONS, SATISFACTION, Summary
from projections.service_queues import DIMENSIONS as QUEUE_DIMENSIONS
from projections.service_queues import SERVICE_QUEUES

router = APIRouter(prefix="/v1", tags=["read models"])
Reader = Annotated[Caller, Depends(Needs(VIEWS))]
CustomerId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[\w.:/@+-]{1,64}$")]
Priority = Literal["1", "2", "3", "4"]
Band = Literal["high", "medium", "low", "unknown", "closed"]


class WantedSatisfaction(WantedView):
    """Scores of any grouping and window."""

    by: Text = Field("channel", description=f"Group by: {', '.join(DIMENSIONS)}; several with commas between them.")
    days: Literal[7, 30, 90] | None = Field(None, description="Only invitations of so many days.")
    until: date | None = Field(None, description="Last day of the window; today if absent.")
    metric: Literal["csat", "nps", "ces"] | None = None
    scale: int | None = Field(None, ge=1, le=100)
    channel: Text | None = None
    branch: Text | None = None
    product: Text | None = None
    segment: Text | None = None
    project_id: Text | None = None
    owner: Text | None = None

    @field_validator("days", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


class WantedRisk(WantedView):
    """The customers who are most likely to leave."""

    band: Band | None = None
    branch: Text | None = None
    segment: Text | None = None
    manager_id: Text | None = None


class WantedQueues(WantedView):
    """The queues as they stand."""

    by: Literal[QUEUE_DIMENSIONS] = Field("queue", description="One row for each of these.")  # type: ignore[valid-type]
    kind: Literal["contact", "case"] | None = None
    queue: Text | None = None
    branch: Text | None = None
    segment: Text | None = None
    product: Text | None = None
    project_id: Text | None = None
    case_type: Text | None = None
    owner: Text | None = None
    priority: Priority | None = None


class WantedCases(WantedView):
    """Open cases, the most urgent first."""

    state: Literal["overdue", "at risk", "in time", "no deadline"] | None = None
    overdue: bool = Field(False, description="Only what missed a deadline; the same as that state.")
    forecast: bool = Field(False, description="How likely the next deadline is missed, as `breach`.")
    customer_id: Text | None = Field(None, description="Whose events came with this id.")
    queue: Text | None = None
    branch: Text | None = None
    segment: Text | None = None
    product: Text | None = None
    project_id: Text | None = None
    case_type: Text | None = None
    regime: Text | None = None
    owner: Text | None = None
    priority: Priority | None = None


class WantedCustomer(WantedMoment):
    """One customer."""

    fields: Text | None = Field(None, description="Only these fields: names with commas between them.")


class WantedTimeline(WantedView):
    """What happened with one customer."""

    since: datetime | None = Field(None, description="From this time on; in UTC where it has no zone.")
    until: datetime | None = Field(None, description="Before this time; in UTC where it has no zone.")
    kind: Text | None = Field(None, description="Only complaint, contact, survey …, or one event: survey.answered.")
    channel: Text | None = Field(None, description="Only what came by this channel, and all that followed from it.")

    @field_validator("since", "until")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


SATISFACTION_VIEW = View(
    "satisfaction",
    SatisfactionRow,
    (SATISFACTION,),
    (str, int, str),
    lambda row: (row["metric"], row["scale"], json_of(row["group"]).decode()),
    personal=False,
)
RISK_VIEW = View(
    "retention-risk",
    RiskRow,
    (RETENTION_RISK,),
    (str, float | int | None, str),
    lambda row: (row["band"], row["probability"], row["customer_id"]),
)
QUEUES_VIEW = View(
    "queues", QueueRow, (SERVICE_QUEUES,), (str, str), lambda row: (row["group"], row["kind"]), personal=False
)
CASES_VIEW = View(
    "cases",
    ListedCaseRow,
    (SERVICE_QUEUES,),
    (str, str, datetime | None, datetime | None),
    lambda row: (row["case"], row["state"], row["statutory_due"], row["service_due"]),
)
TIMELINE_VIEW = View(
    "timeline", TimelineRow, ABOUT_ONE, (datetime, int), lambda row: (row["occurred_at"], row["log_position"])
)


@router.get("/satisfaction")
async def satisfaction(
    request: Request, caller: Reader, wanted: Annotated[WantedSatisfaction, Depends(Parameters(WantedSatisfaction))]
) -> Response:
    """CSAT, NPS and CES with their 95 % intervals, and the response rate; suppressed below ten answers."""
    by = list(dict.fromkeys(name.strip() for name in wanted.by.split(",")))
    if unknown := [name for name in by if name not in DIMENSIONS]:
        told = f"no dimension {unknown[0][:50]!r}: choose among {', '.join(DIMENSIONS)}"
        raise Invalid(errors=[{"at": "query.by", "detail": told}])
    if wanted.until is not None and wanted.days is None:
        raise Invalid(errors=[{"at": "query.until", "detail": "it ends a window: give days with it"}])
    names = ("metric", "scale", "channel", "product", "project_id", "owner")
    where: dict[str, Any] = {name: value for name in names if (value := getattr(wanted, name)) is not None}
    where |= {name: value for name, value in caller.rows(wanted.branch, wanted.segment).items() if value is not None}

    def rows(asked: Asked) -> Iterable[Row]:
        window = None
        if wanted.days:
            last = wanted.until or asked.now.astimezone(UTC).date()
            if last.toordinal() <= wanted.days:
                return []
            window = (last - timedelta(days=wanted.days - 1), last)
        found = [_satisfaction(by, summary) for summary in scores(asked.answer, by, where, window)]
        return _behind(found, SATISFACTION_VIEW, asked)

    return await ask(request, caller, SATISFACTION_VIEW, wanted, rows)


@router.get("/retention-risk")
async def retention_risk(
    request: Request, caller: Reader, wanted: Annotated[WantedRisk, Depends(Parameters(WantedRisk))]
) -> Response:
    """The customers who are most likely to leave, with the reasons and their points."""
    filters = {**caller.rows(wanted.branch, wanted.segment), "manager_id": wanted.manager_id}

    def rows(asked: Asked) -> Iterable[Row]:
        after = None
        if asked.after is not None:
            band, probability, customer = asked.after
            after = (band, probability, customer)
            if band not in ("high", "medium", "low", "unknown", "closed"):
                return []
        return riskiest(asked.answer, asked.now, asked.limit, wanted.band, filters, after=after)

    return await ask(request, caller, RISK_VIEW, wanted, rows)


@router.get("/queues")
async def queues(
    request: Request, caller: Reader, wanted: Annotated[WantedQueues, Depends(Parameters(WantedQueues))]
) -> Response:
    """Each queue, or branch, owner …, as it stands: what is open and how old, the next deadlines, what is overdue, what
    came and went. Of the branches and segments of the token only.
    """
    names = ("kind", "queue", "product", "project_id", "case_type", "owner", "priority")
    where = {name: getattr(wanted, name) for name in names} | caller.rows(wanted.branch, wanted.segment)

    def rows(asked: Asked) -> Iterable[Row]:
        found = [asdict(summary) for summary in summaries(asked.answer, asked.now, wanted.by, where)]
        return _behind(found, QUEUES_VIEW, asked)

    return await ask(request, caller, QUEUES_VIEW, wanted, rows)


@router.get("/cases")
async def cases(
    request: Request, caller: Reader, wanted: Annotated[WantedCases, Depends(Parameters(WantedCases))]
) -> Response:
    """Open cases with their deadlines: the overdue first, then those at risk, then by deadline."""
    names = ("customer_id", "queue", "product", "project_id", "case_type", "regime", "owner", "priority")
    where = {name: getattr(wanted, name) for name in names} | caller.rows(wanted.branch, wanted.segment)
    state = "overdue" if wanted.overdue else wanted.state

    def rows(asked: Asked) -> Iterable[Row]:
        after = None if asked.after is None else dict(zip(CASE_PLACE, asked.after, strict=True))
        forecasts = Forecasts(asked.answer, asked.now) if wanted.forecast else None
        for row in open_cases(asked.answer, asked.now, asked.limit, where, state, forecasts, after):
            yield row if wanted.forecast else {**row, "breach": None}

    return await ask(request, caller, CASES_VIEW, wanted, rows)


CASE_PLACE = ("case", "state", "statutory_due", "service_due")


@router.get("/customers/{customer_id:path}/timeline")
async def customer_timeline(
    request: Request,
    caller: Reader,
    customer_id: CustomerId,
    wanted: Annotated[WantedTimeline, Depends(Parameters(WantedTimeline))],
) -> Response:
    """Everything that happened with one customer, newest first; of one who is merged, with all ids that are one."""

    def rows(asked: Asked) -> Iterable[Row]:
        if asked.who is not None:
            asked.who.check(asked.answer)
        group, _ = merges_around(asked.answer, customer_id)
        chosen: dict[str, Any] = {name: getattr(wanted, name) for name in ("since", "until", "kind", "channel")}
        found = timeline(asked.answer, group.members, asked.limit, **chosen, before=_place(asked))
        if not any(timeline(asked.answer, group.members, 1)):
            raise NotFound()
        return found

    return await ask(request, caller, TIMELINE_VIEW, wanted, rows, customer_id)


@router.get("/customers/{customer_id:path}", response_model=None)
async def customer(
    request: Request,
    caller: Reader,
    customer_id: CustomerId,
    wanted: Annotated[WantedCustomer, Depends(Parameters(WantedCustomer))],
) -> Response:
    """One customer: profile with what set each field, consents, projects, the three scores, and what is open.

    Of one who is merged the answer is about all ids that are one. A token that may see the survivor may see all of it,
    cases at other branches too.
    """
    purpose = check_purpose(request)
    now, past, who = await moment(request, ABOUT_ONE, wanted, caller, customer_id)
    fields = answers.chosen(wanted.fields, CustomerRow)

    def whole(answer: Answer) -> answers.Told:
        if who is not None:
            who.check(answer)
        found = whole_of(answer, customer_id, now)
        known = found.scores["retention"] is not None or found.profile or found.cases or found.customer["erased"]
        if not known and not any(timeline(answer, found.group.members, 1)):
            raise NotFound()
        about = found.about()
        return answers.page(answer.fresh, [{**about.pop("customer"), **about}], fields, None)

    try:
        told = await one(request, ABOUT_ONE, past, whole)
    except NotFound:
        await record(request, caller, purpose, 404, customer_id)
        raise
    await record(request, caller, purpose, 200, customer_id, told.position, 1)
    return told.response(request)


def _place(asked: Asked) -> tuple[datetime, int] | None:
    return None if asked.after is None else (asked.after[0], asked.after[1])


def _behind(rows: Sequence[Row], view: View, asked: Asked) -> Sequence[Row]:
    """Those behind the place where the page before ended, of a list that is made as a whole."""
    ordered = sorted(rows, key=lambda row: tuple(view.place(row)))
    if asked.after is None:
        return ordered
    return [row for row in ordered if tuple(view.place(row)) > tuple(asked.after)]


def _satisfaction(by: Sequence[str], of: Summary) -> dict[str, Any]:
    row = as_row(of)
    group: Mapping[str, Any] = dict(zip(by, of.group, strict=True))
    return {"metric": row.pop("metric"), "scale": row.pop("scale"), "group": group, **row}
