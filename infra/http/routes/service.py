"""What operators do about messages: send dead letters again, correct them, and take parked ones out of their queues."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from domain.administration import DeadLetterRepaired, DeadLettersReplayed
from infra.http.asking import Text
from infra.http.callers import Caller
from infra.http.changing import change, problems, told
from infra.http.parts import parts_of
from infra.http.problems import Invalid
from infra.http.scopes import OPERATE
from infra.http.security import Needs
from infra.kafka.producer import Outgoing
from infra.operating import letters, parked
from infra.postgres.dead_letters import mark_repaired, mark_replayed
from infra.postgres.parked import retry_parked
from infra.postgres.questions.answer import Connection

router = APIRouter(prefix="/v1", tags=["operations"])
Operator = Annotated[Caller, Depends(Needs(OPERATE))]
Number = Annotated[int, Path(ge=1, lt=1 << 63)]


class Correction(BaseModel):
    """What is to be corrected in a copy of the event, or the whole event."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    given: dict[Text, Any] = Field({}, alias="set", description="Path, such as `data.score` -> value.")
    remove: list[Text] = Field([], max_length=100, description="Paths, such as `data.mood`.")
    event: dict[str, Any] | None = Field(None, description="The whole event, where the letter holds none.")
    dry_run: bool = Field(False, description="Answer with the event, and publish nothing.")


class Release(BaseModel):
    """Why it must not wait any longer."""

    model_config = ConfigDict(extra="forbid")

    reason: Text


class Queues(BaseModel):
    """Whose oldest messages are tried now."""

    model_config = ConfigDict(extra="forbid")

    streams: list[Text] = Field(min_length=1, max_length=1000)


@router.post("/dead-letters/{id}/replay", status_code=202)
async def replay(request: Request, caller: Operator, id: Number) -> Response:
    """Publish a dead letter again as it came, for the worker to decide anew. 202 says that Kafka has it."""

    def found(conn: Connection) -> letters.Letter:
        letter = letters.letter_of(conn, id)
        if not letters.sendable([letter]):
            raise letters.left_out(1)
        return letter

    # Recorded before it is done: a message that is in Kafka cannot be taken back.
    letter = await change(request, caller, found, act=lambda _: DeadLettersReplayed(by="", letters=(id,)))
    parts = parts_of(request)
    await parts.publisher.send([letters.as_it_came(letter)])
    await parts.store.change(lambda conn: mark_replayed(conn, [id]))
    return told({"id": id, "published_as": letter["event_id"]}, 202)


@router.post("/dead-letters/{id}/repair", status_code=202)
async def repair(request: Request, caller: Operator, id: Number, wanted: Correction) -> Response:
    """Correct a copy of a dead letter's event, and publish it under a new id. The letter is kept as it came.

    The new id is the old one with `.repair-ID`, so a letter that is repaired twice counts once. An event that no worker
    would accept is refused.
    """
    if not (wanted.given or wanted.remove or wanted.event):
        raise Invalid(errors=[{"at": "body", "detail": "say what is to be corrected: set, remove or event"}])
    parts = parts_of(request)

    def corrected(conn: Connection) -> tuple[letters.Event, Outgoing]:
        event = letters.corrected(letters.letter_of(conn, id), wanted.given, wanted.remove, wanted.event)
        return event, letters.outgoing(event, id, parts.now(), parts.limits)

    if wanted.dry_run:
        with problems():
            event, _ = await parts.store.ask(corrected)
        return told({"event": event})
    # Values may be personal: which paths were corrected is kept, and not how.
    said = {"set": list(wanted.given), "remove": wanted.remove, "event": wanted.event is not None}
    event, message = await change(
        request, caller, corrected, said, lambda made: DeadLetterRepaired(by="", letter=id, repaired_as=made[0]["id"])
    )
    await parts.publisher.send([message])
    await parts.store.change(lambda conn: mark_repaired(conn, id, event["id"]))
    return told({"id": id, "published_as": event["id"]}, 202)


@router.post("/parked/{seq}/release", status_code=204)
async def release(request: Request, caller: Operator, seq: Number, wanted: Release) -> Response:
    """Take a message out of its queue: it becomes a dead letter with who and why, and what waits behind it goes on."""
    now = parts_of(request).now()

    def done(conn: Connection) -> int:
        return parked.release(conn, [seq], caller.subject, wanted.reason, now)

    await change(request, caller, done, wanted.model_dump())
    return Response(status_code=204)


@router.post("/parked/retry")
async def retry(request: Request, caller: Operator, wanted: Queues) -> Response:
    """Have the oldest messages of these queues tried now, and not at their next try; whose were there."""
    due = await change(request, caller, lambda conn: retry_parked(conn, streams=wanted.streams), wanted.model_dump())
    return told({"streams": due})
