"""Views as they stood, what changed between two moments, and why a score or a deadline was what it was: for auditors.

A token that is limited to branches or segments may replay one customer whom it may see, and no whole view.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, Path, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response, StreamingResponse

from infra import explained
from infra.http import answers, cursors
from infra.http.asking import PAGE, Text, Wanted, one, possible
from infra.http.callers import Caller
from infra.http.parameters import Parameters
from infra.http.parts import parts_of
from infra.http.persons import hidden_from, person
from infra.http.problems import Forbidden, Invalid, NotFound
from infra.http.routes.audit import Auditor
from infra.http.routes.views import CustomerId
from infra.http.security import check_purpose, record
from infra.postgres.as_of import AsOf, NoSuchMoment
from infra.postgres.past import Moment
from infra.postgres.questions.answer import Answer, Connection, Freshness
from infra.postgres.questions.cases import UnknownCase
from infra.postgres.questions.customers import ABOUT_ONE
from infra.postgres.questions.forgotten import WasErased
from infra.postgres.replayed import UnknownView, changes, columns_of, counted_changes, named, rows_of
from infra.replay import Replayed, table_at, table_between
from infra.replay import Wanted as Replaying
from projections.declare import Key

router = APIRouter(prefix="/v1/audit", tags=["audit"])
DIFFERENT = ("kind", "key", "before", "after", "because", "events_total", "events")


class WantedReplay(Wanted):
    """A view as it stood."""

    as_of_position: int | None = Field(None, ge=0, lt=1 << 63, description="By the events up to this position.")
    known_at: AwareDatetime | None = Field(None, description="What the bank knew at this time.")
    happened_by: AwareDatetime | None = Field(None, description="What had happened by this time.")
    customer: Text | None = Field(None, description="Only of this customer, and of all ever merged with it.")
    diff: Text | None = Field(
        None, description="What is different at another moment: `position:N`, `known:TIME`, `happened:TIME` or `now`."
    )

    _possible = field_validator("known_at", "happened_by")(possible)


class WantedReasons(BaseModel):
    """Why something was as it was."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime | None = Field(None, description="As it stood at this time; now if absent.")
    known_at: AwareDatetime | None = Field(None, description="By what was known at this time; the same if absent.")

    _possible = field_validator("at", "known_at")(possible)


@dataclass(slots=True)
class _Made:
    """What a replay has made, once it has."""

    one: Replayed | None = None
    other: Replayed | None = None

    @property
    def last(self) -> Replayed:
        """The moment that the answer is about."""
        found = self.other or self.one
        assert found is not None
        return found


@router.get("/replay/{view}")
async def replay(
    request: Request,
    caller: Auditor,
    view: Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[a-z][a-z_-]{0,63}$")],
    wanted: Annotated[WantedReplay, Depends(Parameters(WantedReplay))],
) -> Response:
    """A view, or any table of a read model, as it stood at a moment, with a digest of its rows that is always the same;
    or what is different at another moment, and which events did it. `as_of` names the moment again.
    """
    parts, now = parts_of(request), parts_of(request).now()
    purpose = check_purpose(request)
    try:
        projection, table = named(view)
    except UnknownView:
        raise NotFound("no such view") from None
    asked = AsOf(wanted.as_of_position, wanted.known_at, wanted.happened_by)
    try:
        other = None if wanted.diff is None else AsOf.parse(wanted.diff)
    except NoSuchMoment as error:
        raise Invalid(errors=[{"at": "query.diff", "detail": str(error)}]) from None
    fields = answers.chosen(wanted.fields, DIFFERENT if other else [*table.key, *columns_of(table)])
    form = answers.form(request, wanted.format)
    filters: dict[str, Any] = {**wanted.filters(), "view": table.name}
    after: Key | None = None
    if wanted.cursor is not None:
        if other is not None:
            told = "what is different has one page: ask for CSV or NDJSON, or for one customer"
            raise Invalid(errors=[{"at": "query.cursor", "detail": told}])
        now, place = cursors.read(wanted.cursor, "replay", filters, (str,) * len(table.key))
        after = tuple(place)
    customers = await _visible(request, caller, purpose, wanted.customer)
    made, of = _Made(), Replaying(projection, table, customers)

    def make(conn: Connection) -> Answer:
        if other is None:
            made.one = table_at(conn, of, asked, now)
        else:
            made.one, made.other = table_between(conn, of, (asked, other), now)
        return Answer(conn, projection, as_of=made.last.of.position)

    def rows(answer: Answer, limit: int) -> Iterator[dict[str, Any]]:
        if other is not None:
            return answer.ask(lambda conn: changes(conn, table, limit=limit))
        return answer.ask(lambda conn: rows_of(conn, table, limit=limit, after=after))

    def page(answer: Answer) -> tuple[answers.Told, Iterator[bytes]]:
        limit = wanted.limit or PAGE
        found = list(islice(rows(answer, limit + 1), limit + 1))
        shown, cursor = found[:limit], None
        if len(found) > limit and other is None:
            cursor = cursors.written("replay", filters, now, [str(shown[-1][name]) for name in table.key])
        about = {"view": table.name, **_about(made)}
        if other is not None:
            about["changes"] = answer.ask(lambda conn: counted_changes(conn, table))
        told = answers.page(answer.fresh, shown, fields, cursor, form, about)
        return replace(told, headers={**told.headers, **_headers(made)}), iter(())

    def whole(answer: Answer) -> tuple[Sequence[Freshness], Iterator[bytes]]:
        return answer.fresh, answers.parts(rows(answer, 0), fields, form)

    exported = wanted.limit is None and form != "json"
    export: Any = parts.store.made(make, whole if exported else page)
    try:
        begun = await export.begin()
        position = made.last.of.position
        await record(request, caller, purpose, 200, wanted.customer, position, None if exported else begun.rows)
    except NoSuchMoment as error:
        export.close()
        raise Invalid(errors=[{"at": "query", "detail": str(error)}]) from None
    except psycopg.DataError:
        export.close()
        raise Invalid(errors=[{"at": "query.cursor", "detail": "it is none of this view"}]) from None
    except BaseException:
        export.close()
        raise
    if not exported:
        export.close()
        response: Response = begun.response(request, form)
        return response
    headers = {**answers.PRIVATE, **answers.headers(begun), **_headers(made)}
    return StreamingResponse(export.parts(), 200, headers, answers.MEDIA[form])


def _headers(made: _Made) -> dict[str, str]:
    return {"Kehu-As-Of": made.last.of.text, "Kehu-Digest": made.last.digest}


def _about(made: _Made) -> dict[str, Any]:
    assert made.one is not None
    if made.other is None:
        return _told(made.one)
    return {"before": _told(made.one), "after": _told(made.other)}


def _told(found: Replayed) -> dict[str, Any]:
    return {"as_of": found.of.text, "at": found.of.at, "rows_total": found.rows, "digest": found.digest}


async def _visible(request: Request, caller: Caller, purpose: str | None, customer: str | None) -> Sequence[str]:
    """All who were ever one with a customer whom the caller may see. Raises NotFound, and Forbidden without one."""
    if customer is None:
        if not caller.sees_all:
            raise Forbidden("its rows are limited to branches or segments: name a customer")
        return ()
    who = await person(parts_of(request).store, caller, customer, past=True)
    if who.hidden:
        await record(request, caller, purpose, 404, customer)
        raise NotFound()
    return who.linked


@router.get("/explain/risk/{customer_id:path}", response_model=None)
async def explain_risk(
    request: Request,
    caller: Auditor,
    customer_id: CustomerId,
    wanted: Annotated[WantedReasons, Depends(Parameters(WantedReasons))],
) -> Response:
    """The retention risk of a customer as it stood: reasons, model, windows, and the events behind each reason."""
    purpose = check_purpose(request)
    at, moment = _moment(request, wanted)
    linked = await _visible(request, caller, purpose, customer_id)

    def reasons(answer: Answer) -> answers.Told:
        try:
            found = explained.risk(answer, customer_id, at)
        except explained.NoScore:
            raise NotFound() from None
        except WasErased as error:  # who may see the customer may know
            raise NotFound(error.detail) from None
        return answers.page(answer.fresh, [found], None, None)

    try:
        told = await one(request, ABOUT_ONE, (moment, linked), reasons)
    except NotFound:
        await record(request, caller, purpose, 404, customer_id)
        raise
    await record(request, caller, purpose, 200, customer_id, told.position, 1)
    return told.response(request)


@router.get("/explain/case/{case_id:path}", response_model=None)
async def explain_case(
    request: Request,
    caller: Auditor,
    case_id: CustomerId,
    wanted: Annotated[WantedReasons, Depends(Parameters(WantedReasons))],
) -> Response:
    """A case as it stood: both clocks, the time that each counted under which preset and calendar, and its events."""
    purpose = check_purpose(request)
    _, moment = _moment(request, wanted)

    def reasons(conn: Connection) -> tuple[answers.Told, str]:
        try:
            found = explained.case(conn, case_id, moment)
        except UnknownCase:
            raise NotFound() from None
        customer: str = found["customer_id"]
        if hidden_from(Answer(conn, *ABOUT_ONE), caller, [customer]):
            raise NotFound()
        return answers.page(answers.log_freshness(conn), [found], None, None), customer

    try:
        told, customer = await parts_of(request).store.ask(reasons)
    except NotFound:
        await record(request, caller, purpose, 404)
        raise
    await record(request, caller, purpose, 200, customer, told.position, 1)
    return told.response(request)


def _moment(request: Request, wanted: WantedReasons) -> tuple[datetime, Moment]:
    at = wanted.at or parts_of(request).now()
    return at, Moment(at, wanted.known_at or at)
