"""Servers and processes of a benchmark: started on free ports, stopped when the block ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import orjson
import psycopg
from psycopg import sql

from benchmarks.lines import peak_rss
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.errors import KehuError

ROOT = Path(__file__).parents[1]
PATIENCE = 120.0
"""Seconds in which a process must have done its work."""
_numbers = count(1)


class NotFinished(KehuError):
    """A process of the benchmark failed or did not finish in time. The end of what it logged follows."""


@contextmanager
def start_broker(kind: str, folder: Path) -> Iterator[str]:
    """A fresh broker; its bootstrap servers. The embedded one never frees memory: take a new one for each load."""
    if kind == "apache":
        from tests.support.apache_kafka import ApacheKafka  # fetches its jars: only for those who ask for it

        with ApacheKafka.start(folder / f"kafka-{next(_numbers)}") as node:
            yield node.bootstrap_servers
    else:
        with EmbeddedBroker.start(folder / f"broker-{next(_numbers)}.log") as broker:
            yield broker.bootstrap_servers


@contextmanager
def start_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server as it comes: `fsync` and `synchronous_commit` are on."""
    with EmbeddedPostgres.start(folder / "postgres") as server:
        yield server


@contextmanager
def fresh_database(server: EmbeddedPostgres, like: str = "template1") -> Iterator[str]:
    """An empty database, or a copy of the one of that name; dropped afterwards. Its connection string."""
    name = f"bench_{next(_numbers)}"
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(like)))
    yield server.url(name)
    with psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        conn.execute("CHECKPOINT")  # so that its pages are not written while the next one is measured


class Process:
    """A Python module that runs in a process of its own and writes JSON lines to a file."""

    def __init__(self, folder: Path, module: str, *arguments: str) -> None:
        self._path = folder / f"{module}-{next(_numbers)}"
        self._log = folder / f"{self._path.name}.log"
        with self._path.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                # Unbuffered, or the library's banner ends up in the middle of a line of JSON.
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    @property
    def lines(self) -> list[dict[str, float]]:
        """The JSON objects that it has written so far, whole lines only; a banner is no object."""
        whole = self._path.read_bytes().rpartition(b"\n")[0].splitlines()
        return [orjson.loads(line) for line in whole if line.startswith(b"{")]

    def processor_seconds(self) -> float:
        """The seconds of processor that it has used."""
        # What `clock_getcpuclockid` gives in C: the processor clock of another process, in nanoseconds and not ticks.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def peak_rss(self) -> float:
        """The most memory that it has had, in MiB."""
        return peak_rss(self._process.pid)

    def wait_until(self, happened: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Look every 50 ms whether it happened, for so many seconds. Raises NotFinished."""
        deadline = time.monotonic() + patience
        while not happened():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self._not_finished()
            time.sleep(0.05)

    def wait(self) -> None:
        """Wait until it ends by itself. Raises NotFinished."""
        if self._process.wait(PATIENCE):
            raise self._not_finished()

    def _not_finished(self) -> NotFinished:
        return NotFinished(f"{self._path.name}: {self._log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """Ask it to end, and wait; after 20 s it is killed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
