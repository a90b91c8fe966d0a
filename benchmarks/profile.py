"""Group profile: where the time of an ingested event goes, as shares of the whole. No broker takes part.

Each step is timed where it is called; nothing is sampled. Fetching from Kafka is not among the steps: a worker does it
in another thread while a batch is stored.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks import load
from benchmarks.figures import Figure, Figures, Settings
from benchmarks.servers import fresh_database, start_postgres
from consumers.ingest import Ingest
from infra import bootstrap, interpreter
from infra.postgres import event_store
from infra.postgres import log as event_log
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate

EVENTS = 60_000
STEPS = (
    "decode",
    "load_streams",
    "look_up_inbox",
    "decide",
    "make_rows",
    "positions_and_inbox",
    "copy_events",
    "commit",
)


def run(settings: Settings) -> Figures:
    """The share of each step, and what one event takes in all."""
    mixed = load.messages(settings.events or EVENTS)
    spent: defaultdict[str, float] = defaultdict(float)
    with start_postgres(settings.folder) as server, fresh_database(server) as database:
        migrate(database)
        log = PostgresLog(database)
        with ExitStack() as timers:
            timers.enter_context(_calm_garbage_collector())
            for name, owner, attribute in (
                ("load_streams", log, "load"),
                ("look_up_inbox", log, "seen"),
                ("append", log, "append"),
                ("make_rows", event_log, "to_state"),
                ("write", event_log, "write"),
                ("positions_and_inbox", event_store, "_write_around"),
                ("copy_events", event_store, "_write_events"),
            ):
                timers.enter_context(_timing(spent, name, owner, attribute))
            ingest = Ingest(log, _timed(spent, "decode", bootstrap.decoder()), bootstrap.now)
            for batch in load.batches(ingest, mixed):
                started = time.perf_counter()
                ingest.take(ingest.read(batch))
                spent["whole"] += time.perf_counter() - started
        log.close()
    spent["commit"] = spent["append"] - spent["write"] - spent["make_rows"]
    spent["decide"] = (
        spent["whole"] - spent["append"] - sum(spent[s] for s in ("decode", "load_streams", "look_up_inbox"))
    )
    figures = {f"{step}_share": Figure(100 * spent[step] / spent["whole"], "%") for step in STEPS}
    return {"event_us": Figure(spent["whole"] / len(mixed) * 1e6, "µs"), **figures}


@contextmanager
def _calm_garbage_collector() -> Iterator[None]:
    """As in a worker, until the block ends."""
    before = gc.get_threshold()
    interpreter.calm_garbage()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def _timed(spent: "defaultdict[str, float]", name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*given: Any) -> Any:
        started = time.perf_counter()
        try:
            return call(*given)
        finally:
            spent[name] += time.perf_counter() - started

    return timed


@contextmanager
def _timing(spent: "defaultdict[str, float]", name: str, owner: Any, attribute: str) -> Iterator[None]:
    """Time a function where it is looked up, until the block ends."""
    original = getattr(owner, attribute)
    setattr(owner, attribute, _timed(spent, name, original))
    try:
        yield
    finally:
        setattr(owner, attribute, original)
