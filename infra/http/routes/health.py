"""Whether the server lives, and whether it can answer: for whoever starts it and sends it requests. Without a token."""

import asyncio

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from infra.http.keys import NoKeys
from infra.http.parts import parts_of
from infra.http.problems import Away

router = APIRouter(prefix="/health", tags=["health"])
_READY = "SELECT n FROM kehu.log_head"


@router.get("/live")
async def live() -> Response:
    """The process answers."""
    return Response(orjson.dumps({"status": "live"}), media_type="application/json")


@router.get("/ready")
async def ready(request: Request) -> Response:
    """PostgreSQL answers, and there are keys to check tokens with."""
    parts = parts_of(request)
    await parts.store.ask(lambda conn: conn.execute(_READY).fetchone())
    try:
        await asyncio.to_thread(parts.keys.refresh)
    except NoKeys as error:
        raise Away("the OpenID provider's keys cannot be fetched") from error
    return Response(orjson.dumps({"status": "ready"}), media_type="application/json")
