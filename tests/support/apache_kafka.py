"""Apache Kafka itself, one KRaft node, from its jars in Maven Central (`tests/kafka/pom.xml`), on free loopback ports.

It runs with the settings that `docker-compose.yml` gives its broker; only addresses and folders differ.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from random import sample
from types import TracebackType
from typing import Any

import pytest
import yaml

from infra.embedded.broker import answers

ROOT = Path(__file__).parents[2]
JARS = ROOT / ".cache" / "apache-kafka"
POM = ROOT / "tests" / "kafka" / "pom.xml"
JAVA = ("java", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A node or a tool lives for seconds: the full compiler and a collector of many threads cost more than they give."""
NOBODY: Mapping[str, str] = {}
STORE_PASSWORD = "keystore-of-a-test"


def jars() -> Path:
    """Kafka's jars, fetched when missing. Without Java or Maven the test is skipped; in CI that is a failure."""
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        reason = f"Apache Kafka needs {' and '.join(missing)}: install a Java 17 runtime and Maven"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    stamp = JARS / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    if not stamp.exists():
        JARS.parent.mkdir(exist_ok=True)
        with JARS.with_suffix(".lock").open("w") as lock:
            flock(lock, LOCK_EX)  # tests run in several processes: the second waits for the jars of the first
            if not stamp.exists():
                _fetch()
                stamp.touch()
    return JARS


def _fetch() -> None:
    shutil.rmtree(JARS, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
    subprocess.run([*command, f"-DbuildDirectory={JARS}"], check=True, timeout=600)


def _free_port() -> int:
    """A loopback port that nobody listens on, and that no connection gets by chance before the node opens it.

    A node takes seconds to start, and other tests connect meanwhile: the system gives them ports from 32768 on.
    """
    for port in sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no loopback port below 32000 is free")


def write_command(file: Path, main: str) -> None:
    """Write a command like those in the folder `bin` of a Kafka that is installed."""
    file.write_text(f"#!/bin/sh\nexec {' '.join(JAVA)} -cp '{jars()}/*' {main} \"$@\"\n")
    file.chmod(0o755)


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
    secure_port: int | None = None
    """Where it wants a password over TLS, and looks who may do what; None when it was not started so."""
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def bootstrap_servers(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def secure_servers(self) -> str:
        """Host and port of the listener that wants a password over TLS."""
        return f"localhost:{self.secure_port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that this listener shows."""
        return self.folder / "broker.pem"

    @classmethod
    def start(cls, folder: Path, users: Mapping[str, str] = NOBODY) -> "ApacheKafka":
        """Format a node's folder and start the node; returns when it answers.

        With `users` (name -> password) it has a second listener for them, SASL_SSL with SCRAM, and they may do nothing
        but what an ACL allows; whoever comes in by the first one administers.
        """
        node = cls(folder, _free_port(), _free_port() if users else None)
        controller = _free_port()
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
        if users:
            settings |= node._secured()
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (folder / "server.properties").write_text(text)
        scram = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in users.items()]
        known = [part for one in scram for part in ("--add-scram", one)]
        node._java("kafka.tools.StorageTool", "format", "-t", "a3Vib2hrZWh1a2VodWtlaA", *known, "-c").wait(60)
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

    def tool(self, main: str, *arguments: str) -> str:
        """Run one of Kafka's own command-line tools; what it printed. Raises CalledProcessError."""
        command = [*JAVA, "-cp", f"{jars()}/*", main, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def _secured(self) -> dict[str, str]:
        """A certificate for localhost, and the settings of the listener that shows it."""
        store = self.folder / "broker.p12"
        key = ["-keystore", str(store), "-storepass", STORE_PASSWORD, "-alias", "broker"]
        make = ["-genkeypair", "-keyalg", "RSA", "-dname", "CN=localhost", "-ext", "SAN=dns:localhost", *key]
        subprocess.run(["keytool", *make], check=True, capture_output=True, timeout=60)
        export = ["keytool", "-exportcert", "-rfc", *key, "-file", str(self.ca_file)]
        subprocess.run(export, check=True, capture_output=True, timeout=60)
        both = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL"
        listener = f"SECURE://localhost:{self.secure_port}"
        plain, controller = (f"PLAINTEXT://127.0.0.1:{self.port}", f"CONTROLLER://127.0.0.1:{_free_port()}")
        return {
            "listeners": f"{plain},{controller},{listener}",
            "advertised.listeners": f"{plain},{listener}",
            "controller.quorum.voters": f"1@{controller.removeprefix('CONTROLLER://')}",
            "listener.security.protocol.map": both,
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.secure.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.location": str(store),
            "ssl.keystore.password": STORE_PASSWORD,
            "ssl.keystore.type": "PKCS12",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

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
        command = [*JAVA, "-cp", f"{jars()}/*", main, *arguments, str(self.folder / "server.properties")]
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)
