"""Workers that read what lies in a broker: messages a second, processor time and memory, from the lines they write."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.figures import Settings
from benchmarks.servers import PATIENCE, Process
from infra.kafka.producer import Encoded

SLOWEST = 2000
"""Messages a second that a worker reads at least, however busy the machine is."""
Line = dict[str, float]


@dataclass(frozen=True, slots=True)
class Ran:
    """Messages a second, microseconds of processor for each, and the most memory of one worker in MiB."""

    rate: float
    cpu: float
    rss: float


def fill(
    settings: Settings,
    database: str,
    kafka: str,
    mixed: Sequence[Encoded],
    workers: int = 1,
    seal_key: Path | None = None,
) -> Ran:
    """Publish, and let so many workers of one group read all of it; with a key they seal the log as well."""
    more = [str(seal_key)] if seal_key else []
    load.prepare(database, kafka, mixed)
    with ExitStack() as running:
        processes = [
            running.enter_context(Process(settings.folder, "benchmarks.worker", database, kafka, "bench", *more))
            for _ in range(workers)
        ]
        processes[0].wait_until(lambda: load.read(database) >= len(mixed), PATIENCE + len(mixed) / SLOWEST)
    return ran([process.lines for process in processes])


def ran(told: Sequence[Sequence[Line]]) -> Ran:
    """What the workers did while all of them worked; nothing when they never did, since there was too little.

    That is from the first commit of the one that came last to the last commit of the one that ended first. A line is
    written at a commit, so the messages of the line where it begins were read before.
    """
    if not all(told):
        return Ran(0.0, 0.0, 0.0)
    begin, end = max(lines[0]["at"] for lines in told), min(lines[-1]["at"] for lines in told)
    shared = [[line for line in lines if begin <= line["at"] <= end] for lines in told]
    messages = sum(line["messages"] for lines in shared for line in lines[1:])
    if end <= begin or not messages:
        return Ran(0.0, 0.0, 0.0)
    cpu = sum(lines[-1]["cpu"] - lines[0]["cpu"] for lines in shared)
    return Ran(messages / (end - begin), cpu / messages * 1e6, max(lines[-1]["rss"] for lines in told))
