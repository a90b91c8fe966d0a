"""A process that builds all read models anew from the log. Writes a line at the start and one per batch."""

import sys

from benchmarks.lines import Lines
from consumers.projector import Projector
from domain import handling
from infra.postgres.builds import Builds
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL


def main(postgres: str) -> None:
    """Make a new build of every projection and fold the whole log into it."""
    lines = Lines()
    assert handling.AGGREGATES  # the aggregates register their events when they are imported
    builds = Builds(postgres)
    for state in ("candidate", "former"):
        for projection in ALL:
            if old := builds.of(projection.name).get(state):
                builds.drop(old)
    models = PostgresReadModels(postgres, [builds.begin(projection) for projection in ALL])
    projector = Projector(PostgresLog(postgres), models, ALL)
    lines.write(0)
    while events := projector.run_once():
        lines.write(events)
    if projector.stopped:
        raise SystemExit(f"stopped: {projector.stopped}")


if __name__ == "__main__":
    main(*sys.argv[1:])
