"""Publishing by HTTP, for channels without Kafka: the HTTP binding of CloudEvents 1.0, single and in batches."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote, unquote

import msgspec
import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from infra.errors import Unreadable
from infra.http.callers import Caller
from infra.http.parts import Parts, parts_of
from infra.http.problems import Invalid, Refused, UnknownMediaType
from infra.http.scopes import EVENTS
from infra.http.security import Needs
from infra.kafka.envelopes import STRUCTURED
from infra.kafka.producer import HEADERS
from infra.publishing import Checked, Headers, checked
from infra.remedies import UNREADABLE

router = APIRouter(prefix="/v1", tags=["events"])
Channel = Annotated[Caller, Depends(Needs(EVENTS))]
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
_split = msgspec.json.Decoder(list[msgspec.Raw])


@router.post("/events", status_code=202)
async def publish(request: Request, caller: Channel) -> Response:
    """Publish one CloudEvent (structured or binary mode) or a batch. 202 says that Kafka has acknowledged all of them.

    An event that no worker would accept is refused with the rule, and then none of the batch is published. What the
    rules of the domain say of it is in its receipt.
    """
    parts = parts_of(request)
    events = await _events(request, parts)
    for one in events:
        caller.require_source(one.meta.source)
    await parts.publisher.publish(events)
    told = [
        {
            "source": one.meta.source,
            "id": one.meta.event_id,
            "receipt": f"/v1/receipts?source={quote(one.meta.source, safe='')}&id={quote(one.meta.event_id, safe='')}",
        }
        for one in events
    ]
    return Response(orjson.dumps({"accepted": len(told), "events": told}), 202, media_type=JSON)


async def _events(request: Request, parts: Parts) -> Sequence[Checked]:
    body = await request.body()
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == BATCH:
        try:
            values: list[tuple[bytes, Headers]] = [(bytes(one), HEADERS) for one in _split.decode(body)]
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise Invalid(errors=[{"at": "body", "detail": f"not an array of CloudEvents: {error}"}]) from None
        if not 1 <= len(values) <= parts.settings.batch_events:
            told = f"1 to {parts.settings.batch_events} events at once"
            raise Invalid(errors=[{"at": "body", "detail": told}])
    elif media == STRUCTURED:
        values = [(body, HEADERS)]
    elif "ce-type" in request.headers or "ce-specversion" in request.headers:
        values = [(body, _binary(request))]
    else:
        raise UnknownMediaType(f"{STRUCTURED}, {BATCH}, or {JSON} with ce- headers")
    now, found, wrong = parts.now(), [], list[dict[str, Any]]()
    for number, (value, headers) in enumerate(values):
        try:
            found.append(checked(value, now, parts.limits, headers))
        except Unreadable as error:
            wrong.append({"event": number, "rule": error.rule, "detail": error.detail, "remedy": UNREADABLE})
    if wrong:
        raise Refused(f"{len(wrong)} of {len(values)} events", errors=wrong)
    return found


def _binary(request: Request) -> Headers:
    """Attributes as Kafka's binding writes them. In HTTP they are percent-encoded."""
    attributes = [
        (f"ce_{name.decode('latin-1')[3:]}", unquote(value.decode("latin-1"), errors="replace").encode())
        for name, value in request.headers.raw
        if name.startswith(b"ce-")
    ]
    media = request.headers.get("content-type")
    return [*attributes, ("content-type", media.encode())] if media else attributes
