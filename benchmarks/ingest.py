"""Group ingest: from Kafka to the committed transaction, against COPY, against the plain way, and as it grows.

With `--broker apache` the embedded broker is what Apache Kafka stands against, beside the rest.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks import load
from benchmarks.copying import copy, written
from benchmarks.figures import Figure, Figures, Settings, alternating, middle
from benchmarks.history import repeated
from benchmarks.running import Ran, fill, ran
from benchmarks.servers import Process, fresh_database, start_broker, start_postgres
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.producer import Encoded

EVENTS = 200_000
HISTORY = 10
"""The grown store holds so many times the events of a run."""
PLAIN_SHARE = 60
"""The plain way gets a 60th of the events, so that it ends."""


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    events = settings.events or EVENTS
    mixed, few = load.messages(events), load.messages(max(events // PLAIN_SHARE, 100), defects=False)
    with ExitStack() as until_the_end:
        server = until_the_end.enter_context(start_postgres(settings.folder))
        with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as first:
            fill(settings, first, kafka, mixed)
            grown = until_the_end.enter_context(repeated(server, first, HISTORY))
        ways = [
            partial(workers, settings, server, mixed, copying=True),
            partial(workers, settings, server, mixed, like=grown),
            partial(workers, settings, server, mixed, number=2),
            partial(_plain, settings, server, few),
        ]
        if settings.broker != "embedded":
            ways.append(partial(workers, replace(settings, broker="embedded"), server, mixed))
        one, more, two, plain, *embedded = alternating(settings.rounds, *ways)
    speed, cpu = _speed(one), middle([r.cpu for r, _ in one])
    figures = {
        "ingest_vs_copy": Figure(speed, "events/s", middle([c for _, c in one]), "COPY of the same rows"),
        "ingest_vs_plain": Figure(speed, "events/s", _speed(plain), "a Faust agent, one save per event"),
        "ingest_two_workers": Figure(_speed(two), "events/s", speed, "one worker"),
        "ingest_two_workers_cpu": Figure(cpu, "µs/event", middle([r.cpu for r, _ in two]), "each event of two workers"),
        "ingest_growth": Figure(_speed(more), "events/s", speed, f"an empty store; this one holds {HISTORY} x as much"),
        "worker_rss_mb": Figure(middle([r.rss for r, _ in one]), "MiB"),
    }
    if embedded:
        figures["ingest_apache_vs_embedded"] = Figure(speed, "events/s", _speed(embedded[0]), "the embedded broker")
    return figures


def workers(
    settings: Settings,
    server: EmbeddedPostgres,
    mixed: Sequence[Encoded],
    *,
    number: int = 1,
    copying: bool = False,
    like: str = "template1",
) -> tuple[Ran, float]:
    """What so many workers do on a store like that one, and the messages a second if only their rows were copied."""
    with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server, like) as database:
        did = fill(settings, database, kafka, mixed, number)
        return did, len(mixed) / copy(database, written(database)) if copying else 0.0


def _plain(settings: Settings, server: EmbeddedPostgres, few: Sequence[Encoded]) -> tuple[Ran, float]:
    with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as database:
        load.prepare(database, kafka, few)
        folder = str(settings.folder / "faust")
        with Process(settings.folder, "benchmarks.plain_agent", database, kafka, folder) as agent:
            agent.wait_until(lambda: len(agent.lines) >= len(few))
    return ran([agent.lines]), 0.0


def _speed(found: Sequence[tuple[Ran, float]]) -> float:
    return middle([did.rate for did, _ in found])
