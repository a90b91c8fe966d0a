"""The demo: throw-away servers, a worker process, a bank that publishes, and what came of it."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.bank import Bank
from infra import bootstrap
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.errors import KehuError
from infra.kafka.producer import send

ROOT = Path(__file__).parents[2]


class Demo:
    """Servers and a worker for as long as the `with` block lasts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._folder = Path(tempfile.mkdtemp(prefix="kehu-demo-"))

    def __enter__(self) -> "Demo":
        # What was started is stopped in reverse, also when a later step of the start fails.
        with ExitStack() as running:
            self._folder.chmod(0o755)
            self._console.print("Starting PostgreSQL and a broker …")
            server = running.enter_context(EmbeddedPostgres.start(self._folder / "postgres"))
            broker = running.enter_context(EmbeddedBroker.start(self._folder / "broker.log"))
            self.postgres, self.kafka = server.create_database("kehu"), broker.bootstrap_servers
            bootstrap.setup(self.postgres, self.kafka)
            with (self._folder / "worker.log").open("wb") as log:
                env = {**os.environ, "KEHU_POSTGRES": self.postgres, "KEHU_KAFKA": self.kafka}
                self._worker = subprocess.Popen(
                    [sys.executable, "-m", "infra.cli", "worker"], cwd=ROOT, env=env, stdout=log, stderr=log
                )
            running.callback(self._worker.wait, 20)
            running.callback(self._worker.send_signal, signal.SIGTERM)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()

    def publish(self, events: int, seed: int) -> Bank:
        """Publish the bank's messages and wait, with progress, until the read models have them all."""
        bank = Bank(seed=seed, end=bootstrap.now() - timedelta(minutes=1))
        encoded = [(m.topic, m.key.encode(), m.value) for m in bank.messages(events)]
        columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            published = progress.add_task("published", total=len(encoded))
            stored = progress.add_task("stored", total=len(encoded))
            folded = progress.add_task("folded", total=None)
            asyncio.run(send(self.kafka, encoded, lambda n: progress.update(published, completed=n)))
            deadline = time.monotonic() + 120
            while True:
                read, head, position = self._counts()
                progress.update(stored, completed=read)
                progress.update(folded, completed=position, total=head or None)
                if read == len(encoded) and position == head:
                    return bank
                if time.monotonic() > deadline or self._worker.poll() is not None:
                    raise KehuError(f"the worker did not finish; its log is {self._folder / 'worker.log'}")
                time.sleep(0.1)

    def _counts(self) -> tuple[int, int, int]:
        with psycopg.connect(self.postgres) as conn:
            row = conn.execute(
                "SELECT (SELECT coalesce(sum(next_offset), 0)::bigint FROM kehu.positions),"
                " (SELECT n FROM kehu.log_head),"
                " (SELECT min(position) FROM kehu.projections)"
            ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]
