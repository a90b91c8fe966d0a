"""`python -m benchmarks.rebuild_steps [EVENTS]`: processor time of each step of a rebuild, in one process, one by one.

What the server takes to give the log, to receive the rows and to index them is beside it.
"""

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from benchmarks import load
from benchmarks.figures import Figure, show
from benchmarks.rebuild import fill_log
from benchmarks.servers import fresh_database, start_postgres
from consumers.held_rows import HeldRows
from domain.values import Position, Recorded
from infra.postgres import data_keys, indexes
from infra.postgres.builds import Builds
from infra.postgres.mapper import read_rows
from infra.postgres.slices import Slice, log_of
from projections.catalogue import ALL
from projections.completeness import Proof, proofs_of
from projections.declare import Changes, personal_for

EVENTS = 50_000
TICKS = os.sysconf("SC_CLK_TCK")


def steps(postgres: str) -> dict[str, float]:
    """Step -> microseconds per event of the log."""
    spent: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> Any:
        started = clock()
        result = call()
        spent[name] = spent.get(name, 0.0) + clock() - started
        return result

    builds = Builds(postgres)
    candidates = [builds.begin(projection) for projection in ALL]
    names = sorted({name for projection in ALL for name in projection.handles})
    with psycopg.connect(postgres) as conn:
        before = _processor_seconds(conn)
        query = log_of(names, Position(sys.maxsize), 0, 1)
        rows = timed("read", lambda: conn.execute(query, binary=True).fetchall())
        spent["read (server)"] = _processor_seconds(conn) - before
        keys, wanted = data_keys.of(postgres), personal_for(ALL)
        events: list[Recorded] = timed(
            "decode", lambda: read_rows(rows, lambda customers: keys.known(conn, customers), wanted)
        )
    proofs: list[Proof] = timed("digests", lambda: proofs_of(events))
    with Slice.begin(postgres, candidates) as piece:
        for projection in ALL:
            held = HeldRows(projection, lambda _table, _keys: {}, empty=True)
            timed(f"fold {projection.name}", lambda: held.fold(events, proofs))  # noqa: B023
            changes: Changes = timed(f"finish {projection.name}", held.changes)
            timed(f"copy {projection.name}", lambda: piece.write(projection, changes))  # noqa: B023
            timed("count", lambda: piece.count(projection, held.folded))  # noqa: B023
        spent["copy (server)"] = _processor_seconds(piece.conn)
    filled = list(zip(ALL, candidates, strict=True))
    timed("index (server)", lambda: indexes.finish(postgres, filled, 1), time.perf_counter)
    builds.close()
    return {name: seconds / len(events) * 1e6 for name, seconds in spent.items()}


def _processor_seconds(conn: "psycopg.Connection[Any]") -> float:
    """What the server's process behind a connection has used."""
    user, system = Path(f"/proc/{conn.info.backend_pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


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
