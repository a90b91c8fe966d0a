"""The demo: throw-away servers, a worker process, a bank that publishes, and what came of it."""

import asyncio
import os
import shutil
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
from infra.cli.customer import customer
from infra.cli.output import console, say
from infra.cli.queues import cases, queues
from infra.cli.reconciliation import reconciliation
from infra.cli.retention_risk import retention_risk
from infra.cli.satisfaction import satisfaction
from infra.cli.servers import connected
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.errors import KehuError
from infra.kafka.producer import send
from infra.master_keys import is_for_development, make_file

ROOT = Path(__file__).parents[2]
PATIENCE = 120
"""Seconds in which the worker must have stored and folded everything."""

# The riskiest customer who had a case: the one whose timeline has most to tell.
TELLING = """SELECT customer_id FROM kehu.retention_risk WHERE customer_id IN
    (SELECT customer_id FROM kehu.customer_timeline WHERE type LIKE 'complaint.%')
    ORDER BY probability DESC NULLS LAST, customer_id LIMIT 1"""


class DemoFailed(KehuError):
    """The worker did not finish."""


class Demo:
    """Servers and a worker for as long as the `with` block lasts. Their folder is kept only when the block fails."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._folder = Path(tempfile.mkdtemp(prefix="kehu-demo-"))

    def __enter__(self) -> "Demo":
        try:
            self._start()
        except BaseException:
            self._say_where()
            raise
        return self

    def _start(self) -> None:
        # What was started is stopped in reverse, also when a later step of the start fails.
        with ExitStack() as running:
            # Or a demo that is told to end would leave its servers behind.
            before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
            running.callback(signal.signal, signal.SIGTERM, before)
            self._folder.chmod(0o755)
            self._out.print("Starting PostgreSQL, a broker and a worker …")
            server = running.enter_context(EmbeddedPostgres.start(self._folder / "postgres"))
            broker = running.enter_context(EmbeddedBroker.start(self._folder / "broker.log"))
            self.postgres, self.kafka = server.create_database("kehu"), broker.bootstrap_servers
            bootstrap.setup(self.postgres, self.kafka)
            with (self._folder / "worker.log").open("wb") as log:
                # The bank's messages are counted, so nothing is published beside them.
                env = {**os.environ, "KEHU_POSTGRES": self.postgres, "KEHU_KAFKA": self.kafka}
                if is_for_development():  # one that goes with the demo, and not into the home of whoever looks at it
                    make_file(self._folder / "master.key")
                    os.environ["KEHU_MASTER_KEY_FILE"] = env["KEHU_MASTER_KEY_FILE"] = str(self._folder / "master.key")
                env["KEHU_REPORT_MISSED_FOR"] = "0"
                self._worker = subprocess.Popen(
                    [sys.executable, "-m", "infra.cli", "worker"], cwd=ROOT, env=env, stdout=log, stderr=log
                )
            running.callback(self._worker.wait, 20)
            running.callback(self._worker.send_signal, signal.SIGTERM)
            self._running = running.pop_all()

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self._running.close()
        if kind is None or issubclass(kind, KeyboardInterrupt | SystemExit):
            shutil.rmtree(self._folder)
        else:
            self._say_where()

    def _say_where(self) -> None:
        say(f"The demo failed; the logs of its servers and its worker are in {self._folder}", "yellow")

    def publish(self, events: int, seed: int) -> Bank:
        """Publish the bank's messages and wait, with progress, until the read models have them all."""
        bank = Bank(seed=seed, end=bootstrap.now() - timedelta(minutes=1))
        encoded = [(m.topic, m.key.encode(), m.value) for m in bank.messages(events)]
        columns = (TextColumn("{task.description:<30}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._out) as progress:
            published = progress.add_task("published to Kafka", total=len(encoded))
            stored = progress.add_task("read into the event store", total=len(encoded))
            folded = progress.add_task("events folded into read models", total=None)
            asyncio.run(send(self.kafka, encoded, lambda n: progress.update(published, completed=n)))
            deadline = time.monotonic() + PATIENCE
            while True:
                read, head, position = self._counts()
                progress.update(stored, completed=read)
                progress.update(folded, completed=position, total=head or None)
                if read == len(encoded) and position == head:
                    return bank
                if time.monotonic() > deadline or self._worker.poll() is not None:
                    raise DemoFailed(f"{read} of {len(encoded)} messages read, {position} of {head} events folded")
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


def run(events: int, seed: int, stay: bool) -> None:
    """The whole demo; raises KehuError when something did not add up."""
    out = console()
    with Demo(out) as demo:
        known = demo.publish(events, seed).expected
        say(
            f"The bank published {known.published:,} messages: {known.duplicates} repeated, {known.late} late, "
            f"{known.healing + known.never_healing} before what they need, {known.dead} that can never apply."
        )
        reconciliation(demo.postgres, demo.kafka)
        satisfaction(demo.postgres)
        retention_risk(demo.postgres, limit=3)
        queues(demo.postgres)
        cases(demo.postgres, limit=5)
        with connected(demo.postgres) as conn:
            telling = conn.execute(TELLING).fetchall()
        for row in telling:
            customer(row["customer_id"], demo.postgres, limit=8)
        if stay:
            say("Everything keeps running until you press Enter. For other commands:")
            say(f"export KEHU_POSTGRES='{demo.postgres}'\nexport KEHU_KAFKA={demo.kafka}", "bold")
            sys.stdin.readline()
