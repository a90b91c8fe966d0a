"""Group audit: how fast the log is walked against its heads, what sealing costs the ingest, and what the past costs.

A worker that seals does it every second here, ten times as often as by default.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg

from benchmarks import as_of, load
from benchmarks.figures import Figure, Figures, Settings, alternating, middle
from benchmarks.history import repeated
from benchmarks.running import Ran, fill
from benchmarks.servers import fresh_database, start_broker, start_postgres
from consumers.sealer import Sealer
from infra import auditing, bootstrap, signing
from infra.auditing_inbox import inbox_findings
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.producer import Encoded
from infra.postgres.log import head
from infra.postgres.seals import Seals

EVENTS = 100_000
HISTORY = 3
"""The log that is walked holds so many times the events of a run."""


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    mixed = load.messages(settings.events or EVENTS)
    key = settings.folder / "seal.pem"
    signer = signing.make(key)
    with start_postgres(settings.folder) as server:
        ways = [partial(_ingested, settings, server, mixed), partial(_ingested, settings, server, mixed, key)]
        plain, sealed = alternating(settings.rounds, *ways)
        with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as first:
            fill(settings, first, kafka, mixed)
            with repeated(server, first, HISTORY) as name, closing(Seals(server.url(name))) as seals:
                database = server.url(name)
                began = time.perf_counter()
                Sealer(seals, signer.sign, [], bootstrap.now).run_once()
                events = _events(database)
                backlog = events / (time.perf_counter() - began)
                times = alternating(settings.rounds, partial(_read, database), partial(_walked, database))
                read, walked = (events / middle(seconds) for seconds in times)
            received = _events(first) / middle([_received(first) for _ in range(settings.rounds)])
        past = as_of.run(settings, server)
    return {
        **past,
        "verify_rps": Figure(walked, "events/s", 100_000, "the bar"),
        "verify_vs_read": Figure(walked, "events/s", read, "reading the same rows"),
        "verify_inbox_rps": Figure(received, "events/s", walked, "the walk over the log"),
        "seal_backlog_rps": Figure(backlog, "events/s", walked, "the walk over the log"),
        "sealing_cost": Figure(_cost(_rate(sealed), _rate(plain)), "share of ingest", 0.05, "the bar"),
        "sealing_cpu": Figure(_cpu(sealed), "µs/event", _cpu(plain), "a worker that does not seal"),
    }


def _cost(rate: float, without: float) -> float:
    """The share of the rate that is lost; none where it was not lower."""
    return max(0.0, 1 - rate / without) if without else 0.0


def _rate(found: Sequence[Ran]) -> float:
    return middle([one.rate for one in found])


def _cpu(found: Sequence[Ran]) -> float:
    return middle([one.cpu for one in found])


def _ingested(settings: Settings, server: EmbeddedPostgres, mixed: Sequence[Encoded], key: Path | None = None) -> Ran:
    """What a worker does that seals when it has a key."""
    with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as database:
        return fill(settings, database, kafka, mixed, seal_key=key)


def _events(database: str) -> int:
    with psycopg.connect(database) as conn:
        return head(conn)


def _walked(database: str) -> float:
    with auditing.snapshot(database, 3) as conns:
        return _timed(lambda: list(auditing.log_findings(conns, [])))


def _received(database: str) -> float:
    with auditing.snapshot(database, 1) as (conn,):
        return _timed(lambda: list(inbox_findings(conn)))


def _timed(find: Callable[[], list[object]]) -> float:
    began = time.perf_counter()
    found = find()
    assert found == [], found[:3]
    return time.perf_counter() - began


def _read(database: str) -> float:
    query = "SELECT * FROM kehu.stored_events ORDER BY notification_id"
    with psycopg.connect(database) as conn, conn.cursor("read", binary=True) as cursor:
        began = time.perf_counter()
        cursor.execute(query)
        while cursor.fetchmany(auditing.TOLD_EVERY):
            pass
        return time.perf_counter() - began
