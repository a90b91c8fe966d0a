"""Two processes that build all read models anew, as `kehu rebuild all` does. Writes a line at both ends."""

import sys

from benchmarks.lines import Lines
from domain import handling
from infra import interpreter
from infra.cli.fillers import fill_builds
from infra.postgres.builds import Builds
from infra.postgres.log import PostgresLog
from projections.catalogue import ALL

PROCESSES = 2


def main(postgres: str) -> None:
    """Make a new build of every projection from the whole log."""
    lines = Lines()
    assert handling.AGGREGATES  # the aggregates register their events when they are imported
    builds = Builds(postgres)
    for state in ("candidate", "former"):
        for projection in ALL:
            if old := builds.of(projection.name).get(state):
                builds.drop(old)
    interpreter.calm_garbage()
    head = PostgresLog(postgres).head()
    lines.write(0)
    candidates = [builds.begin(projection) for projection in ALL]
    fill_builds(postgres, candidates, head, PROCESSES, lambda _read: None)
    builds.filled(candidates, head)
    lines.write(head)


if __name__ == "__main__":
    main(*sys.argv[1:])
