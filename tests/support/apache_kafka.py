"""Apache Kafka itself, one KRaft node, from its jars in Maven Central (`tests/kafka/pom.xml`), on free loopback ports.

It runs with the settings that `docker-compose.yml` gives its broker; only addresses and folders differ.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import yaml

from infra.embedded.broker import answers, free_port

ROOT = Path(__file__).parents[2]
JARS = ROOT / ".cache" / "apache-kafka"
POM = ROOT / "tests" / "kafka" / "pom.xml"
HEAP = "-Xmx768m"


def jars() -> Path:
    """Kafka's jars, fetched when missing. Without Java or Maven the test is skipped; in CI that is a failure."""
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        reason = f"Apache Kafka needs {' and '.join(missing)}: install a Java 17 runtime and Maven"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    stamp = JARS / POM.read_text().partition("<version>4")[2].partition("<")[0]
    if not stamp.exists():
        shutil.rmtree(JARS, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
        subprocess.run([*command, f"-DbuildDirectory={JARS}"], check=True, timeout=600)
        stamp.touch()
    return JARS


def settings_of_compose() -> dict[str, str]:
    """The broker's settings in `docker-compose.yml`: KAFKA_NODE_ID is node.id, as the image of Apache reads them."""
    environment: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"][
        "environment"
    ]
    return {
        name.removeprefix("KAFKA_").replace("_", ".").lower(): str(value)
        for name, value in environment.items()
        if name.startswith("KAFKA_")
    }


@dataclass(slots=True)
class ApacheKafka:
    """A running node; used like the embedded broker, and it keeps its topics over a restart."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def bootstrap_servers(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @classmethod
    def start(cls, folder: Path) -> "ApacheKafka":
        """Format a node's folder and start the node; returns when it answers."""
        node = cls(folder, free_port())
        controller = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            **settings_of_compose(),
            "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(folder / "data"),
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (folder / "server.properties").write_text(text)
        node._java("kafka.tools.StorageTool", "format", "-t", "a3Vib2hrZWh1a2VodWtlaA", "-c").wait(60)
        node.restart()
        return node

    def restart(self, *, patience: float = 60.0) -> None:
        """Start the node again with what it holds, after stopping it if it runs."""
        self.stop()
        self.process = self._java("kafka.Kafka")
        deadline = time.monotonic() + patience
        while not answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Apache Kafka did not start: {(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the node and wait for it."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def __enter__(self) -> "ApacheKafka":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _java(self, main: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = ["java", HEAP, "-cp", f"{jars()}/*", main, *arguments, str(self.folder / "server.properties")]
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)
