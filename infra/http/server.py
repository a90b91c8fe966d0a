"""Runs the application in a process of its own."""

import logging
import socket
import sys

import uvicorn

from infra import interpreter
from infra.errors import KehuError
from infra.http.app import application, parts
from infra.http.hub import Hub
from infra.http.settings import HttpSettings, check_listens_safely
from infra.settings import Accepted


class NotListening(KehuError):
    """The HTTP server cannot listen. Set KEHU_HTTP_PORT to a free port and KEHU_HTTP_HOST to an own address."""

    exit_code = 2


class Server(uvicorn.Server):
    """A server that ends those answers first that have no end."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send followers away, answer what is in work, and close."""
        await self._hub.close()
        await super().shutdown(sockets)


def run(settings: HttpSettings, postgres: str, kafka: str, accepted: Accepted) -> None:
    """Serve until SIGTERM or SIGINT; what is in work is answered. Raises OpenToAll and NotListening."""
    check_listens_safely(settings)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # By its protocol asyncio knows that it may send small answers at once.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise NotListening(f"{settings.host}:{settings.port}: {error.strerror or error}") from error
    _say(settings, listening.getsockname()[1])
    interpreter.give_way_often()
    of = parts(settings, postgres, kafka, accepted)
    config = uvicorn.Config(
        application(of),
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level=logging.WARNING,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=64 * 1024,
    )
    with listening:
        Server(config, of.hub).run(sockets=[listening])


def _say(settings: HttpSettings, port: int) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"http://{host}:{port}/openapi.json"]
    if not settings.issuer:
        lines += [
            "NO OPENID PROVIDER: this server takes DEVELOPMENT TOKENS and listens on this machine only.",
            "`kehu token` prints one. Set KEHU_HTTP_ISSUER and KEHU_HTTP_AUDIENCE before anybody relies on it.",
        ]
    sys.stderr.writelines(f"{line}\n" for line in lines)
    sys.stderr.flush()
