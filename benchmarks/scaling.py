"""Group scaling: 1, 2 and 4 workers of one group on this machine, and what an event takes on disk."""

from functools import partial

import psycopg

from benchmarks import load
from benchmarks.figures import Figure, Figures, Settings, alternating, middle
from benchmarks.ingest import EVENTS, workers
from benchmarks.running import fill
from benchmarks.servers import fresh_database, start_broker, start_postgres

NUMBERS = (1, 2, 4)
TABLES = {"stored_events": "an event of the log", "inbox": "an entry of the inbox"}


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    mixed = load.messages(settings.events or EVENTS)
    with start_postgres(settings.folder) as server:
        found = alternating(
            settings.rounds, *(partial(workers, settings, server, mixed, number=number) for number in NUMBERS)
        )
        with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as database:
            fill(settings, database, kafka, mixed)
            stored = {table: _bytes(database, table) for table in TABLES}
    rates = [middle([did.rate for did, _ in runs]) for runs in found]
    cpus = [middle([did.cpu for did, _ in runs]) for runs in found]
    figures = {}
    for number, rate, cpu in zip(NUMBERS, rates, cpus, strict=True):
        figures[f"workers_{number}"] = Figure(rate, "events/s", rates[0], "one worker")
        figures[f"workers_{number}_cpu_us"] = Figure(cpu, "µs/event", cpus[0], "one worker")
    for table, (whole, data) in stored.items():
        figures[f"{table}_bytes"] = Figure(whole, "bytes", data, f"the columns of {TABLES[table]}")
    return figures


def _bytes(database: str, table: str) -> tuple[float, float]:
    """Bytes of a row with its share of the indexes, and of its values alone."""
    with psycopg.connect(database) as conn:
        row = conn.execute(
            f"SELECT pg_total_relation_size('kehu.{table}')::float8 / count(*), avg(pg_column_size(t))::float8"
            f" FROM kehu.{table} t".encode()
        ).fetchone()
    assert row is not None
    return row[0], row[1]
