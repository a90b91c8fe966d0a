"""From a request to its caller: token, rate, scope; and that personal data is read for a reason, and recorded."""

import asyncio
from typing import Any

from fastapi import Request

from infra.http.callers import Caller
from infra.http.parts import parts_of
from infra.http.problems import Invalid, PurposeMissing, Unauthenticated
from infra.postgres.access_log import Access

PURPOSE = "x-purpose"
LONGEST = 500


class Needs:
    """A caller with one of these scopes, as a dependency of an endpoint."""

    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes

    async def __call__(self, request: Request) -> Caller:
        parts = parts_of(request)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Unauthenticated("there is no token")
        caller = parts.tokens.remembered(token)
        if caller is None:
            caller = await asyncio.to_thread(parts.tokens.check, token)
        parts.rates.take((caller.subject, caller.client))
        caller.require(*self.scopes)
        return caller


def check_purpose(request: Request) -> str | None:
    """Why personal data is read. Raises PurposeMissing where it must be said, Invalid when it is too long."""
    purpose = request.headers.get(PURPOSE, "").strip()
    if not purpose and parts_of(request).settings.purpose_required:
        raise PurposeMissing()
    if len(purpose) > LONGEST:
        raise Invalid(errors=[{"at": "header.X-Purpose", "detail": f"at most {LONGEST} characters"}])
    return purpose or None


async def record(
    request: Request,
    caller: Caller,
    purpose: str | None,
    status: int,
    customer_id: str | None = None,
    position: int | None = None,
    rows: int | None = None,
) -> None:
    """Keep that this was read. Raises Away when it cannot be kept."""
    await parts_of(request).access.record(
        access_of(request, caller, purpose, status, customer_id=customer_id, position=position, rows=rows)
    )


def access_of(
    request: Request,
    caller: Caller,
    purpose: str | None,
    status: int,
    *,
    customer_id: str | None = None,
    position: int | None = None,
    rows: int | None = None,
    said: str | None = None,
) -> Access:
    """What is kept of a request; `said` instead of the query: what was sent to be changed."""
    asked: dict[str, Any] = {"method": request.method, "path": request.url.path, "query": said or request.url.query}
    return Access(
        at=parts_of(request).now(),
        subject=caller.subject,
        client=caller.client,
        **{name: value.replace("\0", "") for name, value in asked.items()},
        purpose=purpose,
        customer_id=customer_id,
        status=status,
        position=position,
        answered_rows=rows,
    )
