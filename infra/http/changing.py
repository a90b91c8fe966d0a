"""What is changed over HTTP: in one transaction with the record of who did it, what and why."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
from fastapi import Request
from msgspec.structs import replace
from starlette.responses import Response

from domain.administration import Act
from infra.errors import KehuError
from infra.http.callers import Caller
from infra.http.parts import parts_of
from infra.http.problems import Conflict, Invalid, NotFound
from infra.http.security import access_of, check_purpose
from infra.operating import letters, parked, webhooks
from infra.plain import json_of
from infra.postgres import access_log, acts
from infra.postgres.questions.answer import Connection
from infra.postgres.webhooks import AlreadyThere, NoSuchWebhook
from infra.webhooks.addresses import WrongUrl
from infra.webhooks.signing import WrongSecret

T = TypeVar("T")
WRONG: Mapping[type[KehuError], str] = {
    webhooks.WrongName: "body.name",
    WrongUrl: "body.url",
    webhooks.NoSegments: "body.segments",
    WrongSecret: "body.secret",
    letters.NotEditable: "body.event",
    letters.NotRepaired: "body",
    letters.WrongPath: "body",
}
"""What is wrong with what was sent -> where."""
MISSING = (NoSuchWebhook, letters.NoSuchLetter, parked.NotParked)
IN_THE_WAY = (AlreadyThere, webhooks.NotLive, letters.NotReplayed)


async def change(
    request: Request,
    caller: Caller,
    done: Callable[[Connection], T],
    said: Mapping[str, Any] | None = None,
    act: Callable[[T], Act] | None = None,
) -> T:
    """Do it and record it, both or neither. `said`: what is kept of what was sent, where the path does not tell it.

    `act` is what the log is told of what was done; who did it is filled in, and why where it does not say that.

    Raises NotFound, Conflict and Invalid with the words of the command line.
    """
    purpose = check_purpose(request)
    access = access_of(request, caller, purpose, 200, said=None if said is None else orjson.dumps(said).decode())

    def both(conn: Connection) -> T:
        answer = done(conn)
        access_log.record(conn, [access])
        if act is not None:
            told = act(answer)
            acts.record(conn, replace(told, by=caller.subject, reason=told.reason or purpose), parts_of(request).now())
        return answer

    with problems():
        return await parts_of(request).store.change(both)


def told(said: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """What was done, for nobody to keep."""
    return Response(json_of(said), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


@contextmanager
def problems() -> Iterator[None]:
    """Errors of what operators do, as problems."""
    try:
        yield
    except MISSING as error:
        raise NotFound(str(error)) from error
    except IN_THE_WAY as error:
        raise Conflict(str(error)) from error
    except tuple(WRONG) as error:
        where = next(place for kind, place in WRONG.items() if isinstance(error, kind))
        raise Invalid(errors=[{"at": where, "detail": str(error)}]) from error
