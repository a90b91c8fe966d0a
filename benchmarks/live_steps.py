"""`python -m benchmarks.live_steps [MESSAGES]`: what small batches take on their way into all read models.

One process appends a slice of messages and folds it, in turn; only the folding is measured. Processor time says more
than the clock where others work on the same cores.
"""

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg
from rich.console import Console

from benchmarks import load
from benchmarks.figures import Figure, Figures, middle, show
from benchmarks.servers import fresh_database, start_postgres
from consumers.ingest import Ingest
from consumers.projector import Projector
from infra import bootstrap, interpreter
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL

MESSAGES = 12_000
AT_ONCE = 60
"""Messages of a batch: at 2,000 a second, those of 30 ms."""


def measure(postgres: str, messages: int) -> Figures:
    """Fold so many messages, after half as many that are not counted."""
    migrate(postgres)
    clock: list[float] = []
    client = server = 0.0
    events = 0
    with (
        closing(PostgresReadModels(postgres)) as models,
        closing(PostgresLog(postgres)) as log,
        closing(PostgresLog(postgres)) as read,
        psycopg.connect(postgres, autocommit=True) as conn,
    ):
        for projection in ALL:
            models.create(projection)
        ingest, projector = Ingest(log, bootstrap.decoder(), bootstrap.now), Projector(read, models, ALL)
        sent = load.messages(messages * 3 // 2, defects=False)
        for number, batch in enumerate(load.batches(ingest, sent, AT_ONCE)):
            ingest.take(ingest.read(batch))
            if number * AT_ONCE < messages // 2:
                projector.run_once()
                continue
            begun = time.perf_counter(), time.process_time(), _of_server(conn)
            events += projector.run_once()
            clock.append(time.perf_counter() - begun[0])
            client += time.process_time() - begun[1]
            server += _of_server(conn) - begun[2]
    return {
        "batch_p50_ms": Figure(middle(clock) * 1e3, "ms"),
        "projector_us": Figure(client / events * 1e6, "µs/event"),
        "server_us": Figure(server / events * 1e6, "µs/event"),
    }


def _of_server(conn: "psycopg.Connection[tuple[int]]") -> float:
    """Seconds of the processor that the backend of the read models has taken."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'kehu-projector'"
    pids = [pid for (pid,) in conn.execute(query)]
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def main(messages: int = MESSAGES) -> None:
    """Print the table."""
    interpreter.calm_garbage()
    with tempfile.TemporaryDirectory(prefix="kehu-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with start_postgres(Path(folder)) as server, fresh_database(server) as database:
            show(measure(database, messages), Console(width=120))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
