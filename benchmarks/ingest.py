"""Group ingest: from Kafka to the committed transaction, against COPY, against the plain way, and as it grows."""

from collections.abc import Sequence
from functools import partial

from benchmarks import load
from benchmarks.copying import copy, written
from benchmarks.figures import Figure, Figures, Settings, alternating, middle
from benchmarks.servers import Process, fresh_database, start_broker, start_postgres
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.producer import Encoded

EVENTS = 200_000
PLAIN_SHARE = 60
"""The plain way gets a 60th of the events, so that it ends."""
Line = dict[str, float]


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    events = settings.events or EVENTS
    mixed, few = load.messages(events), load.messages(max(events // PLAIN_SHARE, 100), defects=False)
    with start_postgres(settings.folder) as server:
        one, tenth, plain, two = alternating(
            settings.rounds,
            partial(_one_worker, settings, server, mixed, copying=True),
            partial(_one_worker, settings, server, load.messages(events // 10)),
            partial(_plain, settings, server, few),
            partial(_two_workers, settings, server, mixed),
        )
    rate, cpu, rss, limit = (middle([found[n] for found in one]) for n in range(4))
    small_rate, _, small_rss, _ = (middle([found[n] for found in tenth]) for n in range(4))
    return {
        "ingest_vs_copy": Figure(rate, "events/s", limit, "COPY of the same rows"),
        "ingest_vs_plain": Figure(rate, "events/s", middle([r for (r,) in plain]), "a Faust agent, one save per event"),
        "ingest_two_workers": Figure(middle([r for (r,) in two]), "events/s", rate, "one worker"),
        "ingest_growth": Figure(rate, "events/s", small_rate, "a tenth of the history"),
        "worker_cpu_us": Figure(cpu, "µs/event"),
        "worker_rss_mb": Figure(rss, "MiB", small_rss, "a tenth of the history"),
    }


def rate(lines: Sequence[Line]) -> float:
    """Messages a second between two commits: the first batch is where the clock starts, its messages do not count."""
    if len(lines) < 2:
        return 0.0  # all in one batch: nothing to measure
    return sum(line["messages"] for line in lines[1:]) / (lines[-1]["at"] - lines[0]["at"])


def cpu(lines: Sequence[Line]) -> float:
    """Microseconds of processor that the process took for each message between two commits, whoever else is busy."""
    if len(lines) < 2:
        return 0.0
    return (lines[-1]["cpu"] - lines[0]["cpu"]) / sum(line["messages"] for line in lines[1:]) * 1e6


def _one_worker(
    settings: Settings, server: EmbeddedPostgres, mixed: Sequence[Encoded], copying: bool = False
) -> tuple[float, ...]:
    """Messages a second, processor time of each, the most memory, and the rate if only their rows were copied."""
    with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as database:
        load.prepare(database, kafka, mixed)
        with Process(settings.folder, "benchmarks.worker", database, kafka, "bench") as worker:
            worker.wait_until(lambda: load.read(database) >= len(mixed))
        lines = worker.lines
        limit = len(mixed) / copy(database, written(database)) if copying else 0.0
    return rate(lines), cpu(lines), lines[-1]["rss"], limit


def _two_workers(settings: Settings, server: EmbeddedPostgres, mixed: Sequence[Encoded]) -> tuple[float, ...]:
    """The rate while both work: from the later one's first commit to the last commit of the one that ends first."""
    with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as database:
        load.prepare(database, kafka, mixed)
        start = partial(Process, settings.folder, "benchmarks.worker", database, kafka, "bench")
        with start() as a, start() as b:
            a.wait_until(lambda: load.read(database) >= len(mixed))
    both = [a.lines, b.lines]
    if not all(both):
        return (0.0,)  # one had all partitions until the end: too few events for a second worker to join
    begin, end = max(lines[0]["at"] for lines in both), min(lines[-1]["at"] for lines in both)
    within = sum(line["messages"] for lines in both for line in lines if begin < line["at"] <= end)
    return (within / (end - begin) if end > begin else 0.0,)


def _plain(settings: Settings, server: EmbeddedPostgres, few: Sequence[Encoded]) -> tuple[float, ...]:
    with start_broker(settings.broker, settings.folder) as kafka, fresh_database(server) as database:
        load.prepare(database, kafka, few)
        folder = str(settings.folder / "faust")
        with Process(settings.folder, "benchmarks.plain_agent", database, kafka, folder) as agent:
            agent.wait_until(lambda: len(agent.lines) >= len(few))
    return (rate(agent.lines),)
