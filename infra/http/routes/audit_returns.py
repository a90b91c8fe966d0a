"""Regulatory returns, for auditors: which there are, the figures of a period, and the complaints behind them.

A token that is limited to branches or segments gets figures of one of its own, and none of all: so what it shows is
never taken for the return of the bank.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import date
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response, StreamingResponse

from domain.returns import RETURNS, Chosen, Period
from infra import returning
from infra.http import answers, cursors
from infra.http.answers import Told
from infra.http.asking import PAGE, Asked, Fields, Format, Row, Text, View, Wanted, ask, possible
from infra.http.callers import Caller
from infra.http.parameters import Parameters
from infra.http.parts import parts_of
from infra.http.problems import Forbidden, Invalid, NotFound
from infra.http.routes.audit import Auditor
from infra.http.rows import FigureRow, ReturnedRow, ReturnRow
from infra.http.security import check_purpose, record
from infra.postgres.as_of import AsOf, NoSuchMoment
from infra.postgres.questions.answer import Answer, Freshness

router = APIRouter(prefix="/v1/audit/returns", tags=["audit"])
Name = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class WantedReturns(Wanted):
    """Versions of returns."""

    name: Text | None = None


class WantedReturn(BaseModel):
    """Of which complaints."""

    model_config = ConfigDict(extra="forbid")

    since: date = Field(description="First day of the period, where the regulator is.")
    until: date = Field(description="First day after the period.")
    as_of_position: int | None = Field(None, ge=0, lt=1 << 63, description="By the events up to this position.")
    known_at: AwareDatetime | None = Field(None, description="By what had been recorded by this time.")
    branch: Text | None = None
    product: Text | None = None
    segment: Text | None = None
    project_id: Text | None = None

    _possible = field_validator("known_at")(possible)


class WantedFigures(WantedReturn):
    """All figures; there are few."""

    fields: Fields = None
    format: Format = None


class WantedReturned(Wanted, WantedReturn):
    """The complaints behind them."""

    measure: Text | None = Field(None, description="Only of this figure.")
    band: Text | None = None
    state: Text | None = None
    outcome: Text | None = None
    verdict: Text | None = None


RETURNS_VIEW = View("returns", ReturnRow, (), (str, int), lambda row: (row["name"], row["version"]), personal=False)


@router.get("")
async def returns(
    request: Request, caller: Auditor, wanted: Annotated[WantedReturns, Depends(Parameters(WantedReturns))]
) -> Response:
    """Every version of every return, of the release and of the bank, with its source; one applies to periods that begin
    today.
    """

    def rows(asked: Asked) -> Iterable[Row]:
        found = (row for row in returning.listed(asked.now.date()) if wanted.name in (None, row["name"]))
        return [row for row in found if asked.after is None or [row["name"], row["version"]] > [*asked.after]]

    return await ask(request, caller, RETURNS_VIEW, wanted, rows)


@router.get("/{name}")
async def figures(
    request: Request,
    caller: Auditor,
    name: Name,
    wanted: Annotated[WantedFigures, Depends(Parameters(WantedFigures))],
) -> Response:
    """The figures of a period, with a digest that is always the same for the position that `as_of` names."""
    now, purpose, question = parts_of(request).now(), check_purpose(request), _question(caller, name, wanted)
    fields, form = answers.chosen(wanted.fields, FigureRow), answers.form(request, wanted.format)

    def counted(answer: Answer) -> Told:
        asked = AsOf(wanted.as_of_position, wanted.known_at)
        begun = answer.ask(lambda conn: returning.begun(conn, question, asked, now))
        found = answer.ask(lambda conn: returning.figures(conn, question, begun.upto))
        about = {**begun.about, "digest": found.digest}
        told = answers.page([begun.fresh], found.rows, fields, None, form, about)
        return replace(told, headers={**told.headers, "Kehu-As-Of": about["as_of"], "Kehu-Digest": found.digest})

    with _moments():
        told = await parts_of(request).store.ask_long(counted)
    await record(request, caller, purpose, 200, None, told.position, told.rows)
    return told.response(request, form)


@router.get("/{name}/cases")
async def cases(
    request: Request,
    caller: Auditor,
    name: Name,
    wanted: Annotated[WantedReturned, Depends(Parameters(WantedReturned))],
) -> Response:
    """The complaints behind the figures, each round of one that was reopened, as of one position on all pages."""
    parts, now, purpose = parts_of(request), parts_of(request).now(), check_purpose(request)
    chosen = Chosen(**{one.name: getattr(wanted, one.name) for one in fields_of(Chosen)})
    question = _question(caller, name, wanted, chosen)
    if (wrong := question.impossible()) is not None:
        choice, there = wrong
        raise Invalid(errors=[{"at": f"query.{choice}", "detail": f"use {', '.join(there)}"}])
    fields, form = answers.chosen(wanted.fields, ReturnedRow), answers.form(request, wanted.format)
    asked, after, filters = AsOf(wanted.as_of_position, wanted.known_at), None, {**wanted.filters(), "name": name}
    if wanted.cursor is not None:
        _, (position, case, number) = cursors.read(wanted.cursor, "return-cases", filters, (int, str, int))
        asked, after = AsOf(position), (case, number)

    def begin(answer: Answer) -> tuple[Freshness, Mapping[str, Any], Generator[Row, None, None]]:
        begun = answer.ask(lambda conn: returning.begun(conn, question, asked, now))
        rows = answer.ask(lambda conn: returning.cases(conn, question, begun.upto, after))
        return begun.fresh, begun.about, rows

    def page(answer: Answer) -> Told:
        fresh, about, rows = begin(answer)
        limit, cursor = wanted.limit or PAGE, None
        with closing(rows):
            found = list(islice(rows, limit + 1))
        if len(found) > limit:
            last = found[limit - 1]
            cursor = cursors.written("return-cases", filters, now, (fresh.position, last["case"], last["round"]))
        told = answers.page([fresh], found[:limit], fields, cursor, form, about)
        return replace(told, headers={**told.headers, "Kehu-As-Of": about["as_of"]})

    def whole(answer: Answer) -> tuple[tuple[Freshness, str], Iterator[bytes]]:
        fresh, about, rows = begin(answer)
        return (fresh, about["as_of"]), answers.parts(rows, fields, form)

    if wanted.limit is not None or form == "json":
        with _moments():
            told = await parts.store.ask_long(page)
        await record(request, caller, purpose, 200, None, told.position, told.rows)
        return told.response(request, form)
    export = parts.store.export((), None, whole)
    try:
        with _moments():
            fresh, as_of = await export.begin()
        await record(request, caller, purpose, 200, None, fresh.position)
    except BaseException:
        export.close()
        raise
    headers = {**answers.PRIVATE, **answers.headers([fresh]), "Kehu-As-Of": as_of}
    return StreamingResponse(export.parts(), 200, headers, answers.MEDIA[form])


def _question(caller: Caller, name: str, wanted: WantedReturn, chosen: Chosen = returning.EVERY) -> returning.Question:
    """What is asked. Raises NotFound, Invalid, and Forbidden unless the caller may see all that is counted."""
    if name not in RETURNS:
        raise NotFound(f"no such return; there are {', '.join(sorted(RETURNS))}")
    try:
        period = Period(wanted.since, wanted.until)
    except ValueError as error:
        raise Invalid(errors=[{"at": "query.since", "detail": str(error)}]) from None
    for one, allowed in (("branch", caller.branches), ("segment", caller.segments)):
        if allowed is not None and getattr(wanted, one) not in allowed:
            raise Forbidden(f"its rows are limited: name a {one} that the token does as `{one}`")
    where = {one: value for one in returning.DIMENSIONS if (value := getattr(wanted, one)) is not None}
    return returning.Question(name, period, where, chosen)


@contextmanager
def _moments() -> Iterator[None]:
    try:
        yield
    except NoSuchMoment as error:
        raise Invalid(errors=[{"at": "query", "detail": str(error)}]) from None
