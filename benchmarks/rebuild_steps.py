"""`python -m benchmarks.rebuild_steps [EVENTS]`: processor time of each step of a rebuild, in one process, one by one.

The server's own time is not in it, apart from `index`, which is nothing else.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console

from benchmarks import load
from benchmarks.figures import Figure, show
from benchmarks.rebuild import fill_log
from benchmarks.servers import fresh_database, start_postgres
from consumers.held_rows import HeldRows
from domain.values import Position, Recorded
from infra import bootstrap
from infra.postgres.builds import Builds
from infra.postgres.mapper import to_recorded
from infra.postgres.read_models import copy_rows
from projections.catalogue import ALL
from projections.completeness import digests
from projections.declare import Changes, Projection

EVENTS = 50_000
_LOG = """SELECT originator_id, originator_version, topic, state, notification_id, recorded_at
    FROM kehu.stored_events ORDER BY customer_id, notification_id"""


def steps(postgres: str) -> dict[str, float]:
    """Step -> microseconds per event of the log."""
    spent: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> Any:
        started = clock()
        result = call()
        spent[name] = spent.get(name, 0.0) + clock() - started
        return result

    with psycopg.connect(postgres) as conn:
        rows = timed("read", lambda: conn.execute(_LOG, binary=True).fetchall())
        events: list[Recorded] = timed("decode", lambda: [to_recorded(*row) for row in rows])
        marks: dict[Position, int] = timed("digests", lambda: dict(digests(events)))
        builds = Builds(postgres)
        for projection in ALL:
            changes = timed(f"fold {projection.name}", lambda one=projection: _folded(one, events, marks))  # type: ignore[misc]
            build = builds.begin(projection)
            for table, changed in changes.items():
                target = sql.Identifier(build.schema, table.name)
                timed(f"copy {projection.name}", lambda: copy_rows(conn, target, table, changed.added, bootstrap.now()))  # noqa: B023
            conn.commit()
            timed("index (server)", lambda: builds.index(projection, build), time.perf_counter)  # noqa: B023
        builds.close()
    return {name: seconds / len(events) * 1e6 for name, seconds in spent.items()}


def _folded(projection: Projection, events: list[Recorded], marks: dict[Position, int]) -> Changes:
    held = HeldRows(projection, lambda _table, _keys: {}, empty=True)
    held.fold(events, marks)
    return held.changes()


def main(events: int = EVENTS) -> None:
    """Print the table."""
    mixed = load.messages(events)
    with tempfile.TemporaryDirectory(prefix="kehu-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with start_postgres(Path(folder)) as server, fresh_database(server) as database:
            fill_log(database, mixed)
            gc.disable()  # here all events live at once; in a rebuild each batch dies
            found = steps(database)
    whole = sum(found.values())
    show({name: Figure(us, "µs/event", whole, "all steps") for name, us in found.items()}, Console(width=120))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
