"""Errors over HTTP: problems as RFC 9457 has them. The docstring of a problem is its title and names the remedy."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain.ports import Unavailable
from infra.errors import KehuError

MEDIA = "application/problem+json"
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


class Problem(KehuError):
    """The request cannot be answered."""

    status = 400
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str = "", headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.headers = {**self.headers, **(headers or {})}
        self.more = more

    @classmethod
    def kind(cls) -> str:
        """The type of the problem, as a URI."""
        return f"urn:kehu:problem:{_WORDS.sub('-', cls.__name__).lower()}"

    @classmethod
    def title(cls) -> str:
        """What is wrong with all problems of this type, and what to do."""
        return " ".join((cls.__doc__ or "").split())


class BadRequest(Problem):
    """The request cannot be understood. Send it as the OpenAPI document at /openapi.json has it."""


class Unauthenticated(Problem):
    """A valid access token is needed. Send `Authorization: Bearer TOKEN`."""

    status = 401
    headers = {"WWW-Authenticate": 'Bearer realm="kehu"'}  # noqa: RUF012 (a constant)


class Forbidden(Problem):
    """The token does not allow this. Ask for one with the scope or the claim that is named."""

    status = 403


class NotFound(Problem):
    """There is no such thing, or the token's rows do not include it."""

    status = 404


class NoSuchPath(Problem):
    """There is no such path. /openapi.json lists all of them."""

    status = 404


class WrongMethod(Problem):
    """The path does not take this method. The header Allow names those it takes."""

    status = 405


class Behind(Problem):
    """The read model does not show the position yet. Ask again, wait longer, or ask for less."""

    status = 409
    headers = {"Retry-After": "1"}  # noqa: RUF012 (a constant)


class Conflict(Problem):
    """What is there is in the way of it, and nothing was changed. Look at it first, and ask for something else."""

    status = 409


class TooLarge(Problem):
    """The body is larger than it may be. Send it in smaller parts."""

    status = 413


class UnknownMediaType(Problem):
    """The body is of a media type that is not read here. Use one that the OpenAPI document names."""

    status = 415


class Invalid(Problem):
    """The request is not valid: `errors` says where. Correct it and send it again."""

    status = 422


class Refused(Problem):
    """Events would be dead letters, and none was published. Correct those that `errors` names, and send all again."""

    status = 422


class PurposeMissing(Problem):
    """Personal data is read for a reason only. Say which in the header `X-Purpose`."""

    status = 428


class TooMany(Problem):
    """There were too many requests. Wait for as long as the header Retry-After says."""

    status = 429


class Unforeseen(Problem):
    """Something went wrong that was not foreseen. The server's log has more under the id."""

    status = 500


class Away(Problem):
    """A server that is needed does not answer. Try again after a while; an event that arrives twice counts once."""

    status = 503
    headers = {"Retry-After": "2"}  # noqa: RUF012 (a constant)


def response(problem: Problem) -> Response:
    """The answer that tells a problem."""
    body = {
        "type": problem.kind(),
        "title": problem.title(),
        "status": problem.status,
        **({"detail": problem.detail} if problem.detail else {}),
        **problem.more,
    }
    return Response(orjson.dumps(body), problem.status, problem.headers, MEDIA)


def away(error: Exception) -> Away:
    """What callers are told when PostgreSQL fails; no address and no statement."""
    if isinstance(error, psycopg.errors.QueryCanceled):
        return Away("the question took too long: ask for less, or export it")
    return Away("PostgreSQL")


def handle(app: FastAPI) -> None:
    """Have every error of the application answered as a problem."""

    async def problem(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return response(error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # What was given is not told: it may be personal.
        told = [{"at": ".".join(map(str, one["loc"])), "detail": str(one["msg"])} for one in error.errors()]
        return response(Invalid(errors=told))

    async def http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kinds = {404: NoSuchPath, 405: WrongMethod, 413: TooLarge, 415: UnknownMediaType}
        kind = kinds.get(error.status_code, BadRequest)
        detail = "" if error.status_code in (404, 405) else str(error.detail)
        return response(kind(detail, error.headers))

    async def server(_request: Request, error: Exception) -> Response:
        return response(away(error))

    async def unforeseen(_request: Request, _error: Exception) -> Response:
        return response(Unforeseen())

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(psycopg.OperationalError, server)
    app.add_exception_handler(psycopg.errors.UndefinedTable, server)
    app.add_exception_handler(Unavailable, server)
    app.add_exception_handler(Exception, unforeseen)
