"""Two processes that build all read models anew, as `kehu rebuild all` does. Writes a line at both ends."""

import sys

from benchmarks.lines import Lines
from consumers.projector import Projector
from domain import handling
from infra import garbage
from infra.cli.fill import Filling
from infra.cli.rebuild import BATCH, HELD
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
    garbage.calm()
    others = [projection for projection in ALL if not projection.by_customer]
    candidates = {projection: builds.begin(projection) for projection in ALL}
    log = PostgresLog(postgres)
    head = log.head()
    lines.write(0)
    empty = [candidates[projection] for projection in ALL if projection.by_customer]
    filling = Filling(postgres, empty, head, 2)
    models = PostgresReadModels(postgres, [candidates[projection] for projection in others])
    projector = Projector(log, models, others, BATCH, HELD)
    while projector.run_once():
        pass
    if projector.stopped:
        raise SystemExit(f"stopped: {projector.stopped}")
    for projection in others:
        builds.index(projection, candidates[projection])
    filling.wait(lambda _read: None)
    filling.close()
    builds.filled(empty, head)
    for projection in ALL:
        if projection.by_customer:
            builds.index(projection, candidates[projection])
    lines.write(head)


if __name__ == "__main__":
    main(*sys.argv[1:])
