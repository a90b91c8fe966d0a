"""A receiver of webhooks as its owner would write it: checks signatures, keeps rows, and does nothing twice."""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


def verified(secret: str, headers: Any, body: bytes) -> bool:
    """Whether one of the signatures is right, after the words of the Standard Webhooks specification."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, content, "sha256").digest()).decode()
    return any(hmac.compare_digest(one, right) for one in headers["webhook-signature"].split(" "))


@dataclass
class Receiver:
    """Keeps the rows that it was told. `answer` says with which status the next message is answered."""

    secret: str = ""
    answer: Callable[[], int] = lambda: 204
    says: str = ""
    """Why it takes nothing."""
    rows: dict[str, tuple[int, Any]] = field(default_factory=dict)
    sequences: dict[str, str] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    """Every event that was taken, also the second time."""
    ids: list[str] = field(default_factory=list)
    """Of every message, also those that were not taken."""
    stale: set[str] = field(default_factory=set)
    """Keys that were not told since everything was to follow."""
    url: str = ""

    def take(self, events: list[dict[str, Any]]) -> None:
        """Rows by their greatest sequence; what is not told when everything is told is gone."""
        for event in events:
            self.told.append(event)
            kind = event["type"].rpartition(".")[2]
            if kind == "restarted":
                self.stale = set(self.rows)
            elif kind == "complete":
                for key in self.stale:
                    self.rows.pop(key, None)
                self.stale = set()
            elif event["sequence"] > self.sequences.get(event["subject"], ""):
                key = event["subject"]
                self.sequences[key] = event["sequence"]
                self.stale.discard(key)
                if kind == "removed":
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = int(event["position"]), event["data"]

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.ids.append(request.headers["webhook-id"])
        if not verified(self.secret, request.headers, body):
            return web.Response(status=401)
        status = self.answer()
        if 200 <= status < 300:
            self.take(json.loads(body))
        said = None if status in (204, 304) else self.says
        return web.Response(status=status, text=said, headers={"Location": self.url} if 300 <= status < 400 else {})


@asynccontextmanager
async def receiving(secret: str) -> AsyncIterator[Receiver]:
    """A receiver that listens on the loopback interface."""
    receiver = Receiver(secret)
    app = web.Application()
    app.router.add_post("/", receiver._post)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        receiver.url = f"http://{host}:{port}/"
        yield receiver
    finally:
        await runner.cleanup()
