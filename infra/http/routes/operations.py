"""How the service stands: read models, what waits, what died, and what became of an event."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from domain.values import CustomerId, Meta
from infra.http import answers
from infra.http.asking import Asked, Text, View, Wanted, ask
from infra.http.callers import Caller
from infra.http.parameters import Parameters
from infra.http.parts import parts_of
from infra.http.problems import Invalid
from infra.http.rows import DeadLetterRow, ParkedRow, ProjectionRow
from infra.http.scopes import EVENTS, SERVICE
from infra.http.security import Needs
from infra.kafka import codec
from infra.postgres.builds import every_build
from infra.postgres.dead_letters import list_dead_letters
from infra.postgres.parked import list_parked
from infra.postgres.questions.answer import Connection, Row
from infra.postgres.receipts import receipts
from infra.remedies import meaning

router = APIRouter(prefix="/v1", tags=["operations"])
Operator = Annotated[Caller, Depends(Needs(SERVICE))]
Sender = Annotated[Caller, Depends(Needs(EVENTS, SERVICE))]
RECEIPT = ("source", "id", "outcome", "position", "stream", "parked", "rule", "dead_letters")
ARRIVAL = ("topic", "topic_id", "partition", "kafka_offset")


class WantedProjections(Wanted):
    """The read models."""

    name: Text | None = None


class WantedDeadLetters(Wanted):
    """Messages that can never apply, newest first."""

    rule: Text | None = None
    topic: Text | None = None
    source: Text | None = None
    since: AwareDatetime | None = None
    replayed: bool | None = None


class WantedParked(Wanted):
    """Messages that cannot apply yet, in the order in which they came."""

    stream: Text | None = None
    topic: Text | None = None
    rule: Text | None = None


class WantedReceipt(BaseModel):
    """Of one event."""

    model_config = ConfigDict(extra="forbid")

    source: Text
    id: Text


class Named(BaseModel):
    """An event by what its channel called it."""

    model_config = ConfigDict(extra="forbid")

    source: Text
    id: Text


class WantedReceipts(BaseModel):
    """Of many events."""

    model_config = ConfigDict(extra="forbid")

    events: list[Named] = Field(min_length=1, max_length=10_000)


PROJECTIONS = View(
    "projections",
    ProjectionRow,
    (),
    (str, int, int),
    lambda row: (row["name"], row["version"], row["build"]),
    personal=False,
)
DEAD_LETTERS = View("dead-letters", DeadLetterRow, (), (int,), lambda row: (row["id"],), personal=False)
PARKED = View("parked", ParkedRow, (), (int,), lambda row: (row["seq"],), personal=False)


@router.get("/projections")
async def projections(
    request: Request, caller: Operator, wanted: Annotated[WantedProjections, Depends(Parameters(WantedProjections))]
) -> Response:
    """Every build of every read model: how far it is, whether it runs, and why it stopped if it did."""

    def rows(asked: Asked) -> Iterable[Row]:
        found = [row for row in asked.answer.ask(every_build) if wanted.name in (None, row["name"])]
        return [row for row in found if asked.after is None or tuple(PROJECTIONS.place(row)) > tuple(asked.after)]

    return await ask(request, caller, PROJECTIONS, wanted, rows)


@router.get("/dead-letters")
async def dead_letters(
    request: Request, caller: Operator, wanted: Annotated[WantedDeadLetters, Depends(Parameters(WantedDeadLetters))]
) -> Response:
    """Messages that can never apply, without their bytes, each with the remedy."""

    def rows(asked: Asked) -> Iterable[Row]:
        before = None if asked.after is None else asked.after[0]
        found = asked.answer.ask(
            lambda conn: list_dead_letters(conn, **wanted.filters(), before=before, limit=asked.limit or None)
        )
        return ({**row, "remedy": meaning(row["rule"])} for row in found)

    return await ask(request, caller, DEAD_LETTERS, wanted, rows)


@router.get("/parked")
async def parked(
    request: Request, caller: Operator, wanted: Annotated[WantedParked, Depends(Parameters(WantedParked))]
) -> Response:
    """Messages that wait, without their bytes, each with what it waits for."""

    def rows(asked: Asked) -> Iterable[Row]:
        after = 0 if asked.after is None else asked.after[0]
        found = asked.answer.ask(
            lambda conn: list_parked(conn, **wanted.filters(), after=after, limit=asked.limit or None)
        )
        return ({**row, "remedy": meaning(row["rule"])} for row in found)

    return await ask(request, caller, PARKED, wanted, rows)


@router.get("/receipts")
async def receipt(
    request: Request, caller: Sender, wanted: Annotated[WantedReceipt, Depends(Parameters(WantedReceipt))]
) -> Response:
    """What became of one event: appended, duplicate, parked, dead, or unknown as long as no worker has read it."""
    return await _receipts(request, caller, [(wanted.source, wanted.id)])


@router.post("/receipts")
async def receipts_of_many(request: Request, caller: Sender, wanted: WantedReceipts) -> Response:
    """What became of many events, in the order asked."""
    most = parts_of(request).settings.batch_events
    if len(wanted.events) > most:
        raise Invalid(errors=[{"at": "body.events", "detail": f"at most {most} at once"}])
    return await _receipts(request, caller, [(one.source, one.id) for one in wanted.events])


async def _receipts(request: Request, caller: Caller, asked: Sequence[tuple[str, str]]) -> Response:
    # Who operates the service sees all; a channel sees its own.
    if not caller.may(SERVICE):
        for source, _ in asked:
            caller.require_source(source)
    now = parts_of(request).now()
    keys = {
        codec.identity(Meta(event_id, source, CustomerId(""), now)): (source, event_id) for source, event_id in asked
    }

    def found(conn: Connection) -> answers.Told:
        fresh = answers.log_freshness(conn)
        known = {(row["source"], row["id"]): _receipt(row) for row in receipts(conn, keys)}
        return answers.page(fresh, [known[one] for one in asked], None, None)

    return (await parts_of(request).store.ask(found)).response(request)


def _receipt(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in (*RECEIPT, *ARRIVAL)}
