"""What changes in a view, as a stream of events that EventSource reads, or a page of it for who asks now and then."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from infra.http.answers import PRIVATE
from infra.http.callers import Caller
from infra.http.hub import Sight
from infra.http.parameters import Parameters
from infra.http.parts import parts_of
from infra.http.problems import Invalid, TooMany
from infra.http.scopes import VIEWS as SCOPE
from infra.http.security import Needs, check_purpose, record
from infra.http.tails import read_place
from infra.postgres.changes import Token, WrongToken
from projections.views import NAMED

router = APIRouter(prefix="/v1", tags=["changes"])
Reader = Annotated[Caller, Depends(Needs(SCOPE))]
MEDIA = "text/event-stream"
LAST = "last-event-id"
NOW = "now"
STALLED = 30.0
"""Seconds in which a caller must have taken a part."""
NO_TOKEN = Invalid(errors=[{"at": "query.after", "detail": "give the id of an event, or now"}])
ViewName = Literal[
    "satisfaction", "retention-risk", "service-queues", "customers", "retention-risk-alerts", "deadline-alerts"
]
assert set(NAMED) == set(ViewName.__args__)  # type: ignore[attr-defined]


class WantedChanges(BaseModel):
    """Which view, and from where on."""

    model_config = ConfigDict(extra="forbid")

    view: ViewName
    after: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = Field(
        None,
        description="The last `id` that was received, or `now`; everything if absent. The header Last-Event-ID, which"
        " EventSource sends when it connects again, comes first.",
    )
    follow: bool = Field(True, description="Stay connected. Otherwise it ends with what there is.")

    @field_validator("follow", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


@router.get("/changes")
async def changes(
    request: Request, caller: Reader, wanted: Annotated[WantedChanges, Depends(Parameters(WantedChanges))]
) -> Response:
    """The rows of a view, and then what changes in them, for as long as the caller stays.

    Events are `changed` and `removed`, with a CloudEvent as data. `restarted` comes before everything is told, and
    `complete` after it: rows that were not told in between are gone. Each `id` is a token to go on with, also when
    another build of the view was switched to meanwhile. A caller that is too slow is told `cut`, and goes on with its
    last id. Rows of other branches and segments than the token's are left out, and a row that moves there is `removed`.
    An `id` that was told to a token with other branches or segments leads to everything.
    """
    parts = parts_of(request)
    view = NAMED[wanted.view]
    personal = "customer_id" in {**view.table.key, **view.table.columns}
    purpose = check_purpose(request) if personal else None
    token, now = _token(request.headers.get(LAST) or wanted.after, caller)
    if parts.hub.followers >= parts.settings.followers:
        raise TooMany("as many follow as may", {"Retry-After": "5"})
    sight = None if caller.sees_all else Sight(caller.sees, caller.rights)
    if wanted.follow:
        begin = await parts.hub.newest(view) if now else token
        stream = parts.hub.follow(view, begin, sight, parts.settings.follow_seconds)
    else:
        stream = parts.hub.missed(view, await parts.hub.newest(view) if now else token, sight)
    try:
        first = await anext(stream)
    except WrongToken:
        raise NO_TOKEN from None
    if personal:
        await record(request, caller, purpose, 200)
    headers = {**PRIVATE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Patiently(_after(first, stream), 200, headers, MEDIA)


class Patiently(StreamingResponse):
    """Ends when the caller takes nothing for `STALLED` seconds, so that its place is free for another."""

    async def stream_response(self, send: Send) -> None:
        """Send part after part."""

        async def taken(message: Message) -> None:
            async with asyncio.timeout(STALLED):
                await send(message)

        with suppress(TimeoutError):
            await super().stream_response(taken)


async def _after(first: bytes, stream: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """What was waited for, so that an error can still be told as one, and the rest."""
    try:
        yield first
        async for part in stream:
            yield part
    finally:
        await stream.aclose()


def _token(text: str | None, caller: Caller) -> tuple[Token | None, bool]:
    """The token, and whether it stands for now; none for who had other rights, and so has other rows."""
    if text is None or text == NOW:
        return None, text == NOW
    try:
        token, rights = read_place(text)
    except WrongToken:
        raise NO_TOKEN from None
    return (token if rights == caller.rights else None), False
