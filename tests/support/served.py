"""The HTTP server in a thread of the test, on a free port, and a client with tokens of the test's own provider."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from typing import Any

import httpx
import uvicorn

from infra import bootstrap
from infra.http.app import application, parts, routed
from infra.http.openapi import document
from infra.http.parts import Parts
from infra.http.server import Server
from infra.http.settings import HttpSettings
from infra.settings import Accepted
from tests.support.issuer import Issuer
from tests.support.processes import until


@dataclass(frozen=True, slots=True)
class Served:
    """A running server. A caller is named by the claims of a token."""

    url: str
    issuer: Issuer
    client: httpx.Client
    parts: Parts
    stop: Callable[[], None]
    """Ends it, and returns when it has."""

    def get(self, path: str, headers: dict[str, str] | None = None, **claims: Any) -> httpx.Response:
        """Ask as whom the claims describe; by default one who may read all views."""
        return self.client.get(path, headers={**self.bearer(**claims), **(headers or {})})

    def post(self, path: str, content: bytes, media: str, **claims: Any) -> httpx.Response:
        """Send a body."""
        told = {**self.bearer(**claims), "content-type": media}
        return self.client.post(path, content=content, headers=told)

    def bearer(self, **claims: Any) -> dict[str, str]:
        """The header with a token."""
        return {"authorization": f"Bearer {self.issuer.token(**claims)}"}


DOCUMENT = document(routed())
_PATHS = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), told) for path, told in DOCUMENT["paths"].items()]


def _is_described(response: httpx.Response) -> None:
    """Every answer that any test gets is one that the document knows, with its media type."""
    path = response.request.url.path
    operations: dict[str, Any] = next((told for known, told in _PATHS if known.fullmatch(path)), {})
    operation = operations.get(response.request.method.lower())
    if operation is None:
        return
    known = operation["responses"].get(str(response.status_code))
    assert known is not None, f"{response.request.method} {response.request.url}: {response.status_code}"
    media = response.headers.get("content-type", "").partition(";")[0]
    assert media in known.get("content", {"": None}), (response.request.url, response.status_code, media)


@contextmanager
def served(
    postgres: str, kafka: str, issuer: Issuer, now: Callable[[], datetime] = bootstrap.now, **given: Any
) -> Iterator[Served]:
    """A server that trusts this provider."""
    settings = HttpSettings(**{"issuer": issuer.url, "rate": 100_000, "burst": 100_000, **given})
    of = parts(settings, postgres, kafka, Accepted(), now)
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(application(of), http="httptools", ws="none", lifespan="on", log_config=None)
        server = Server(config, of.hub)
        thread = Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(20)

        until(lambda: server.started)
        try:
            with httpx.Client(base_url=url, timeout=30, event_hooks={"response": [_is_described]}) as client:
                yield Served(url, issuer, client, of, stop)
        finally:
            stop()
