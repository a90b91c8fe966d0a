"""Who read personal data and who did what to the system, for auditors. Reading that is recorded too."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from domain.administration import Area, streams
from infra.http.asking import Asked, Text, View, Wanted, ask
from infra.http.callers import Caller
from infra.http.parameters import Parameters
from infra.http.rows import AccessRow, ActRow
from infra.http.scopes import AUDIT
from infra.http.security import Needs
from infra.postgres import audited
from infra.postgres.access_log import accesses
from infra.postgres.questions.answer import Row
from infra.postgres.questions.identity import ever_linked

router = APIRouter(prefix="/v1", tags=["audit"])
Auditor = Annotated[Caller, Depends(Needs(AUDIT))]


class WantedAccesses(Wanted):
    """Reads of personal data, newest first."""

    subject: Text | None = None
    customer_id: Text | None = Field(None, description="Of this customer, and of all that were ever one with it.")
    since: AwareDatetime | None = None


ACCESS_LOG = View("access-log", AccessRow, (), (int,), lambda row: (row["id"],))


@router.get("/access-log")
async def access_log(
    request: Request, caller: Auditor, wanted: Annotated[WantedAccesses, Depends(Parameters(WantedAccesses))]
) -> Response:
    """Who read personal data, what, why and when, newest first."""

    def rows(asked: Asked) -> Iterable[Row]:
        before = None if asked.after is None else asked.after[0]
        customers = None if wanted.customer_id is None else ever_linked(asked.answer, wanted.customer_id)
        return asked.answer.ask(
            lambda conn: accesses(
                conn,
                subject=wanted.subject,
                customers=customers,
                since=wanted.since,
                before=before,
                limit=asked.limit or None,
            )
        )

    return await ask(request, caller, ACCESS_LOG, wanted, rows)


class WantedActs(Wanted):
    """Acts of administration, oldest first."""

    area: Area | None = None
    by: Text | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


ACTS = View("acts", ActRow, (), (int,), lambda row: (row["position"],))


@router.get("/acts")
async def acts(
    request: Request, caller: Auditor, wanted: Annotated[WantedActs, Depends(Parameters(WantedActs))]
) -> Response:
    """What was done to the system, by whom, why and when, oldest first."""

    def rows(asked: Asked) -> Iterable[Row]:
        after = None if asked.after is None else asked.after[0]
        chosen = audited.Wanted(None, wanted.since, wanted.until, None, wanted.by, after=after)
        return asked.answer.ask(
            lambda conn: map(
                audited.as_act, audited.stream_events(conn, streams(wanted.area), chosen, asked.limit or None)
            )
        )

    return await ask(request, caller, ACTS, wanted, rows)
