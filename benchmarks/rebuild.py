"""Group rebuild: all read models anew from the log, against reading the log, against the plain way, and as it grows."""

import time
from collections.abc import Sequence
from functools import partial

import psycopg

from benchmarks import load, plain_projection
from benchmarks.figures import Figure, Figures, Settings, alternating, middle
from benchmarks.servers import Process, fresh_database, start_postgres
from consumers.ingest import Ingest
from infra import bootstrap
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.producer import Encoded
from infra.postgres.log import PostgresLog
from infra.postgres.mapper import EVENT_COLUMNS
from infra.postgres.migrate import migrate
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL

EVENTS = 100_000
SHARE = 4
"""The history is compared with one of this part of its length."""
PLAIN_SHARE = 50
PLAIN_MOST = 1000
"""Events of the plain way: it commits one by one."""


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    mixed = load.messages(settings.events or EVENTS)
    with (
        start_postgres(settings.folder) as server,
        fresh_database(server) as large,
        fresh_database(server) as small,
    ):
        fill_log(large, mixed)
        fill_log(small, load.messages(len(mixed) // SHARE))
        whole, part, read, plain = alternating(
            settings.rounds,
            partial(_rebuild, settings, large),
            partial(_rebuild, settings, small),
            partial(_read, large),
            partial(_plain, server, min(max(len(mixed) // PLAIN_SHARE, 100), PLAIN_MOST)),
        )
    rate, rss, small_rate, small_rss = (middle([one[n] for one in runs]) for runs in (whole, part) for n in range(2))
    return {
        "rebuild_vs_read": Figure(rate, "events/s", middle([r for r, _ in read]), "reading the log in order"),
        "rebuild_vs_projection_runner": Figure(
            rate, "events/s", middle([r for r, _ in plain]), "ProjectionRunner, one view, one update per event"
        ),
        "rebuild_growth": Figure(rate, "events/s", small_rate, "a quarter of the history"),
        "rebuild_rss_mb": Figure(rss, "MiB", small_rss, "a quarter of the history"),
    }


def fill_log(postgres: str, encoded: Sequence[Encoded]) -> None:
    """The messages in the log, without a broker."""
    migrate(postgres)
    models = PostgresReadModels(postgres)
    for projection in ALL:
        models.create(projection)
    models.close()
    log = PostgresLog(postgres)
    ingest = Ingest(log, bootstrap.decoder(), bootstrap.now)
    for batch in load.batches(ingest, encoded):
        ingest.take(ingest.read(batch))
    log.close()


def _rebuild(settings: Settings, postgres: str) -> tuple[float, float]:
    """Events a second, and the most memory of both processes together."""
    with Process(settings.folder, "benchmarks.rebuilding", postgres) as process:
        process.wait()
    lines = process.lines
    return sum(line["messages"] for line in lines) / (lines[-1]["at"] - lines[0]["at"]), lines[-1]["rss"]


def _read(postgres: str) -> tuple[float, float]:
    """Rows a second when the log is only read, in the projector's batches; nothing is made of the rows."""
    query = (
        f"SELECT {EVENT_COLUMNS} FROM kehu.stored_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
    )
    with psycopg.connect(postgres) as conn:
        started, position = time.perf_counter(), 0
        while rows := conn.execute(query, (position, load.AT_ONCE), binary=True).fetchall():
            position = rows[-1][4]
    return position / (time.perf_counter() - started), 0.0


def _plain(server: EmbeddedPostgres, events: int) -> tuple[float, float]:
    with fresh_database(server) as database:
        return plain_projection.rate(database, events), 0.0
