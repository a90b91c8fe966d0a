"""Serves the metrics of a worker over HTTP, at /metrics."""

import asyncio
import socket
from http.server import ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread

from mode import Service
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler

from infra.errors import KehuError

PATH = "/metrics"


class NotServed(KehuError):
    """The metrics cannot be served. Set KEHU_METRICS_PORT to a free port and KEHU_METRICS_HOST to an own address."""

    exit_code = 2


class MetricsServer(Service):
    """Holds its port from the beginning on, and answers while it runs: in threads of its own, so also under load."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        """Raises NotServed when the port is taken or the address is not ours."""
        super().__init__()
        try:
            self._server = _Server((host, port), type("Handler", (_Handler,), {"registry": registry}))
        except OSError as error:
            raise NotServed(f"{host}:{port}: {error.strerror or error}") from error
        self._thread = Thread(target=self._server.serve_forever, name="kehu-metrics-http", daemon=True)

    async def on_start(self) -> None:
        self._thread.start()

    async def on_stop(self) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[MetricsHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the name service what this host is called, and waits for the answer.
        TCPServer.server_bind(self)


class _Handler(MetricsHandler):
    timeout = 10.0
    """Seconds after which a client that says nothing is left alone."""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == PATH:
            super().do_GET()
        else:
            self.send_error(404, f"The metrics are at {PATH}")
