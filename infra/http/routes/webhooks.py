"""Webhooks over HTTP: who is told, how far, what went wrong, and what operators do about it."""

from collections.abc import Callable, Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from domain.administration import WebhookChanged
from infra.http.asking import Asked, Text, View, Wanted, ask
from infra.http.callers import Caller
from infra.http.changing import change, told
from infra.http.parameters import Parameters
from infra.http.problems import Forbidden
from infra.http.routes.changes import ViewName
from infra.http.rows import WebhookLetterRow, WebhookRow
from infra.http.scopes import OPERATE, SERVICE
from infra.http.security import Needs
from infra.operating import webhooks as operating
from infra.postgres import webhooks
from infra.postgres.questions.answer import Connection, Row
from projections.views import NAMED

router = APIRouter(prefix="/v1", tags=["webhooks"])
Reader = Annotated[Caller, Depends(Needs(SERVICE, OPERATE))]
Operator = Annotated[Caller, Depends(Needs(OPERATE))]
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]+$")]
Segments = Annotated[list[Text], Field(max_length=100)]
NOTHING = 204


class WantedWebhooks(Wanted):
    """Webhooks in the order of their names."""

    name: Text | None = None
    view: ViewName | None = None
    failing: bool = Field(False, description="Only those that fail or rest.")


class WantedLetters(Wanted):
    """What webhooks did not take, newest first."""

    webhook: Text | None = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewWebhook(_Body):
    """Whom to tell, of what."""

    name: Text
    url: Url = Field(description="Where it is told; https.")
    view: ViewName
    segments: Segments | None = Field(None, description="Only rows of these; of all if absent.")
    from_now: bool = Field(False, description="Only what changes from now on.")
    secret: Text | None = Field(None, description="`whsec_…` of its own; one is made if absent.")


class ChangedWebhook(_Body):
    """What is to be another; what is absent stays."""

    url: Url | None = None
    segments: Segments | None = Field(None, description="Rows of these from now on, everything again; [] for all.")


class Pause(_Body):
    """Why it rests."""

    reason: Text = "paused over HTTP"


class Replay(_Body):
    """From where on."""

    after_position: int = Field(0, ge=0, lt=1 << 63, description="Rows with a later event; 0 for everything.")


class Retry(_Body):
    """Which dead letters."""

    letter: int | None = Field(None, ge=1, lt=1 << 63, description="Only this one; all of them if absent.")


WEBHOOKS = View("webhooks", WebhookRow, (), (str,), lambda row: (row["name"],), personal=False)
LETTERS = View("webhook-letters", WebhookLetterRow, (), (int,), lambda row: (row["id"],), personal=False)


@router.get("/webhooks")
async def listed(
    request: Request, caller: Reader, wanted: Annotated[WantedWebhooks, Depends(Parameters(WantedWebhooks))]
) -> Response:
    """Who is told, how far, and what goes wrong; without secrets."""

    def rows(asked: Asked) -> Iterable[Row]:
        after = "" if asked.after is None else asked.after[0]
        return asked.answer.ask(
            lambda conn: webhooks.listed(conn, **wanted.filters(), after=after, limit=asked.limit or None)
        )

    return await ask(request, caller, WEBHOOKS, wanted, rows)


@router.get("/webhook-letters")
async def letters(
    request: Request, caller: Reader, wanted: Annotated[WantedLetters, Depends(Parameters(WantedLetters))]
) -> Response:
    """What webhooks did not take in all their tries: the keys of rows, and none of their content."""

    def rows(asked: Asked) -> Iterable[Row]:
        before = None if asked.after is None else asked.after[0]
        return asked.answer.ask(lambda conn: webhooks.letters(conn, wanted.webhook, asked.limit or None, before))

    return await ask(request, caller, LETTERS, wanted, rows)


@router.post("/webhooks", status_code=201)
async def add(request: Request, caller: Operator, wanted: NewWebhook) -> Response:
    """Tell somebody what is in a view, and from then on what changes in it. The answer has its secret, once.

    A webhook is told rows of all branches, so the token must see all of them, and the segments that it is told.
    """
    _must_see(caller, wanted.segments)

    def done(conn: Connection) -> str:
        view = NAMED[wanted.view]
        return operating.add(
            conn, wanted.name, wanted.url, view, wanted.segments, from_now=wanted.from_now, secret=wanted.secret
        )

    secret = await change(request, caller, done, wanted.model_dump(exclude={"secret"}), _act(wanted.name, "added"))
    return told({"name": wanted.name, "secret": secret}, 201, {"Location": f"/v1/webhooks?name={wanted.name}"})


@router.patch("/webhooks/{name}", status_code=204)
async def changed(request: Request, caller: Operator, name: Name, wanted: ChangedWebhook) -> Response:
    """Tell it at another URL, or rows of other segments: then everything is told again."""

    def done(conn: Connection) -> None:
        before = webhooks.one(conn, name)
        _must_see(caller, before["segments"] if wanted.segments is None else wanted.segments)
        operating.change(conn, name, wanted.url, wanted.segments)

    await change(request, caller, done, wanted.model_dump(exclude_unset=True), _act(name, "changed"))
    return Response(status_code=NOTHING)


@router.delete("/webhooks/{name}", status_code=204)
async def removed(request: Request, caller: Operator, name: Name) -> Response:
    """Tell it nothing any more, and forget what it did not take."""
    await change(request, caller, lambda conn: webhooks.remove(conn, name), act=_act(name, "removed"))
    return Response(status_code=NOTHING)


@router.post("/webhooks/{name}/pause", status_code=204)
async def pause(request: Request, caller: Operator, name: Name, wanted: Pause) -> Response:
    """Tell it nothing until it is resumed; then it hears of every row that changed meanwhile."""
    paused = _act(name, "paused", wanted.reason)
    await change(request, caller, lambda conn: webhooks.pause(conn, name, wanted.reason), wanted.model_dump(), paused)
    return Response(status_code=NOTHING)


@router.post("/webhooks/{name}/resume", status_code=204)
async def resume(request: Request, caller: Operator, name: Name) -> Response:
    """Go on where it was, and at once: also with one that fails and would be tried again later."""
    await change(request, caller, lambda conn: webhooks.resume(conn, name), act=_act(name, "resumed"))
    return Response(status_code=NOTHING)


@router.post("/webhooks/{name}/secret")
async def new_secret(request: Request, caller: Operator, name: Name) -> Response:
    """Make another secret, told once; for 24 hours messages are signed with the former one, too."""
    secret = await change(
        request, caller, lambda conn: operating.renew_secret(conn, name), act=_act(name, "secret renewed")
    )
    return told({"name": name, "secret": secret})


@router.post("/webhooks/{name}/replay", status_code=204)
async def replay(request: Request, caller: Operator, name: Name, wanted: Replay) -> Response:
    """Tell rows again as they are now: when a receiver lost what it had."""
    await change(
        request,
        caller,
        lambda conn: webhooks.replay(conn, name, wanted.after_position),
        wanted.model_dump(),
        _act(name, "replayed"),
    )
    return Response(status_code=NOTHING)


@router.post("/webhooks/{name}/retry")
async def retry(request: Request, caller: Operator, name: Name, wanted: Retry) -> Response:
    """Send the rows of its dead letters again, as they are now."""
    number = await change(
        request,
        caller,
        lambda conn: webhooks.retry(conn, name, wanted.letter),
        wanted.model_dump(exclude_unset=True),
        _act(name, "retried"),
    )
    return told({"letters": number})


def _act(name: str, change: str, reason: str | None = None) -> Callable[[object], WebhookChanged]:
    return lambda _done: WebhookChanged(by="", reason=reason, webhook=name, change=change)


def _must_see(caller: Caller, segments: list[str] | None) -> None:
    """Raises Forbidden when a webhook would be told rows that the caller may not see."""
    hidden = caller.segments is not None and not set(segments or ["*"]) <= caller.segments
    if caller.branches is not None or hidden:
        raise Forbidden("it would be told rows of branches or segments that the token does not see")
