"""How a list is asked for and answered: one snapshot, a page or the whole as a stream, how fresh it is, and, where it
is about persons, that it was read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator
from starlette.responses import Response, StreamingResponse

from infra.http import answers, cursors
from infra.http.answers import Told
from infra.http.callers import Caller
from infra.http.cursors import Place
from infra.http.parts import parts_of
from infra.http.persons import Person, person
from infra.http.problems import Invalid, NotFound
from infra.http.security import check_purpose, record
from infra.http.store import Past
from infra.postgres.past import Moment
from infra.postgres.questions.answer import Answer, Freshness
from projections.declare import Projection

Row = Mapping[str, Any]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
PAGE, MOST = 100, 1000
Fields = Annotated[Text | None, Field(description="Only these fields of each row: names with commas between them.")]
Format = Annotated[
    Literal["json", "csv", "ndjson"] | None,
    Field(description="Instead of the header Accept. CSV and NDJSON without a limit are the whole result, streamed."),
]


class Wanted(BaseModel):
    """What may be asked of every list."""

    model_config = ConfigDict(extra="forbid")

    limit: int | None = Field(None, ge=1, le=MOST, description=f"Rows of a page; {PAGE} in JSON, all in an export.")
    cursor: Annotated[str, StringConstraints(max_length=2000)] | None = Field(
        None, description="Where the page before ended: its `next`."
    )
    fields: Fields = None
    format: Format = None

    def filters(self) -> dict[str, Any]:
        """What chooses among the rows."""
        return self.model_dump(exclude={*Wanted.model_fields, "min_position", "wait"})


def possible(value: datetime | None) -> datetime | None:
    """The time, if any, where read models can be asked about it. Raises ValueError."""
    if value is not None and not FIRST <= value <= LAST:
        raise ValueError("a time between 1900 and 2200")
    return value


class WantedMoment(BaseModel):
    """As of when, or as new as what."""

    model_config = ConfigDict(extra="forbid")

    as_of: AwareDatetime | None = Field(
        None, description="How it was at this time, or, when it lies ahead, what it will be as far as it is known."
    )
    known_at: AwareDatetime | None = Field(None, description="Only what had been recorded by this time.")
    min_position: int = Field(0, ge=0, lt=1 << 63, description="Wait until this position of the log is shown.")
    wait: float = Field(5.0, ge=0, le=300, description="Seconds to wait for it at most.")

    _possible = field_validator("as_of", "known_at")(possible)


class WantedView(Wanted, WantedMoment):
    """What may be asked of every list of a read model."""


@dataclass(frozen=True, slots=True)
class View:
    """A list of rows that have these fields. A cursor holds what `place` takes of the row where a page ends: values of
    these kinds. What depends on time is asked as of one moment on all pages.
    """

    name: str
    fields: type[BaseModel]
    projections: tuple[Projection, ...]
    kinds: tuple[Any, ...]
    place: Callable[[Row], Place]
    personal: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """What the code that knows the rows is told: ask this, as of then, for so many (0: all), from behind this place."""

    answer: Answer
    now: datetime
    limit: int
    after: Place | None
    who: Person | None = None
    """Whom it is about, where it is about one customer."""


Rows = Callable[[Asked], Iterable[Row]]
"""The rows in their order; None in their place when what is asked about is not there, or hidden."""


async def ask(
    request: Request, caller: Caller, view: View, wanted: Wanted, rows: Rows, customer_id: str | None = None
) -> Response:
    """A page of a list, or all of it as a stream."""
    parts = parts_of(request)
    purpose = check_purpose(request) if view.personal else None
    fields = answers.chosen(wanted.fields, view.fields)
    form = answers.form(request, wanted.format)
    filters = {**wanted.filters(), "customer": customer_id}
    now, past, who = await moment(request, view.projections, wanted, caller, customer_id)
    after: Place | None = None
    if wanted.cursor is not None:
        pinned, after = cursors.read(wanted.cursor, view.name, filters, view.kinds)
        now = now if past is not None else pinned

    async def recorded(status: int, position: int | None = None, number: int | None = None) -> None:
        if view.personal:
            await record(request, caller, purpose, status, customer_id, position, number)

    if wanted.limit is None and form != "json":
        begin = _whole(rows, lambda answer: Asked(answer, now, 0, after, who), fields, form)
        export = parts.store.export(view.projections, past, begin)
        try:
            fresh = await export.begin()
            await recorded(200, answers.position(fresh))
        except NotFound:
            export.close()
            await recorded(404)
            raise
        except BaseException:
            export.close()
            raise
        headers = {**answers.PRIVATE, **answers.headers(fresh)}
        return StreamingResponse(export.parts(), 200, headers, answers.MEDIA[form])

    limit = wanted.limit or PAGE

    def page(answer: Answer) -> Told:
        found = list(islice(rows(Asked(answer, now, limit + 1, after, who)), limit + 1))
        shown = found[:limit]
        cursor = cursors.written(view.name, filters, now, view.place(shown[-1])) if len(found) > limit else None
        return answers.page(fresh_of(answer), shown, fields, cursor, form)

    try:
        told = await one(request, view.projections, past, page)
    except NotFound:
        await recorded(404)
        raise
    await recorded(200, told.position, told.rows)
    return told.response(request, form)


async def one(
    request: Request, projections: Sequence[Projection], past: Past | None, question: Callable[[Answer], Told]
) -> Told:
    """The answer to a question about read models as they are, or as they were."""
    store = parts_of(request).store
    if past is not None:
        return await store.ask_past(projections, past, question)
    return await store.ask(lambda conn: question(Answer(conn, *projections)))


async def moment(
    request: Request,
    projections: Sequence[Projection],
    wanted: BaseModel,
    caller: Caller,
    customer_id: str | None = None,
) -> tuple[datetime, Past | None, Person | None]:
    """The time that is asked about, what must be replayed for it, and whom it is about; the present as new as was
    asked for.

    Raises Behind when to show it takes too long.
    """
    parts = parts_of(request)
    now = parts.now()
    if not isinstance(wanted, WantedMoment):
        return now, None, None
    at = wanted.as_of or wanted.known_at or now
    if wanted.known_at is not None or at < now:
        if wanted.min_position:
            told = "it waits for the present: leave out as_of and known_at"
            raise Invalid(errors=[{"at": "query.min_position", "detail": told}])
        who = None if customer_id is None else await person(parts.store, caller, customer_id, past=True)
        return at, (Moment(at, wanted.known_at), who.linked if who else ()), who
    if wanted.min_position:
        seconds = min(wanted.wait, parts.settings.wait_seconds)
        await parts.store.wait_for(projections, wanted.min_position, seconds)
    who = None if customer_id is None else await person(parts.store, caller, customer_id, past=False)
    return at, None, who


def fresh_of(answer: Answer) -> Sequence[Freshness]:
    """How fresh an answer is; one about no read model shows the log as it stands."""
    return answer.fresh or answer.ask(answers.log_freshness)


def _whole(
    rows: Rows, asked: Callable[[Answer], Asked], fields: Sequence[str] | None, form: answers.Form
) -> Callable[[Answer], tuple[Sequence[Freshness], Iterator[bytes]]]:
    return lambda answer: (fresh_of(answer), answers.parts(rows(asked(answer)), fields, form))
