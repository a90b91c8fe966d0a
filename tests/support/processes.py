"""The command line as its users run it: in processes of its own, which are waited for and killed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, Any

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
KEHU = [sys.executable, "-m", "infra.cli"]


@dataclass(frozen=True, slots=True)
class Kehu:
    """The command line against one pair of servers, and what the database says of the result."""

    postgres: str
    kafka: str
    folder: Path
    apache: bool = False
    """Whether the broker is Apache Kafka."""
    missed_for: str = "0"
    """How far back the worker reports missed deadlines; not at all where a test counts what is published."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment that names the servers."""
        servers = {"KEHU_POSTGRES": self.postgres, "KEHU_KAFKA": self.kafka}
        return {**os.environ, **servers, "KEHU_REPORT_MISSED_FOR": self.missed_for}

    def run(self, *arguments: str, stdin: IO[bytes] | None = None) -> "subprocess.CompletedProcess[str]":
        """One command, to its end."""
        return subprocess.run(
            [*KEHU, *arguments],
            cwd=ROOT,
            env=self.env,
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def done(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        finished = self.run(*arguments)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    @contextmanager
    def worker(self, group: str = "kehu") -> "Iterator[subprocess.Popen[bytes]]":
        """A worker process; terminated at the end if it still runs. Its log is worker.log."""
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [*KEHU, "worker", "--group", group], cwd=ROOT, env=self.env, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)

    def one(self, query: str) -> Any:
        """The only value that a query gives."""
        with psycopg.connect(self.postgres) as conn:
            row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def read(self) -> int:
        """How many messages the workers have read."""
        return int(self.one("SELECT coalesce(sum(appended + duplicate + parked + dead), 0) FROM kehu.positions"))

    def all_folded(self) -> bool:
        """Whether every read model has the whole log."""
        return bool(self.one("SELECT min(position) = (SELECT n FROM kehu.log_head) FROM kehu.projections"))


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that another process does, bounded."""
    never = Event()
    for _ in range(int(seconds / 0.05)):
        if happened():
            return
        never.wait(0.05)
    raise TimeoutError("it did not happen in time")


def require(program: str) -> None:
    """Skip the test without this program; in CI that is a failure."""
    if shutil.which(program) is None:
        reason = f"{program} is not installed"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
