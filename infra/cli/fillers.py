"""The processes that fill new builds from the log: each takes a slice of the customers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import psycopg

from consumers.filling import fill
from domain import handling
from domain.values import Position
from infra import interpreter
from infra.postgres import indexes
from infra.postgres.builds import Build
from infra.postgres.risk_models import document
from infra.postgres.slices import Slice, slices_of
from infra.spread import Spread
from projections.catalogue import ALL
from projections.declare import Projection, personal_for


def fill_builds(
    postgres: str, builds: Sequence[Build], upto: Position, processes: int, told: Callable[[int], None]
) -> None:
    """Fill empty candidates with what follows from the log up to a position, and make their indexes.

    This process is the last of so many. `told` hears how many events were read since. Raises CannotFold, and what is
    committed of the candidates by then is of no use.
    """
    with psycopg.connect(postgres, application_name="kehu-fill") as conn:
        models = {one.name: document(conn, one.model) for one in builds if one.model is not None}
    slices = slices_of(upto, processes)
    works = [partial(_fill, postgres, builds, models, upto, number, slices) for number in range(slices)]
    ours, others = works[::processes], [work for number, work in enumerate(works) if number % processes]
    with Spread(others, processes - 1) as elsewhere:

        def read_here(events: int) -> None:
            told(events)
            for found in elsewhere.arrived():  # also what ended another process: then this one need not go on
                told(found)

        if others:
            interpreter.calm_garbage()
        for work in ours:
            work(read_here)
        for found in elsewhere:
            told(found)
    indexes.finish(postgres, [(_projection(build), build) for build in builds], processes)


def _fill(
    postgres: str,
    builds: Sequence[Build],
    models: Mapping[str, bytes],
    upto: Position,
    number: int,
    slices: int,
    told: Callable[[int], None],
) -> None:
    assert handling.AGGREGATES  # the aggregates register their events when they are imported, in every process
    projections = [_projection(build, models.get(build.name)) for build in builds]
    wanted = frozenset().union(*(one.handles for one in projections))
    with Slice.begin(postgres, builds) as piece:
        fill(projections, piece.events(wanted, personal_for(projections), upto, number, slices, told), piece)


def _projection(build: Build, model: bytes | None = None) -> Projection:
    found = next(projection for projection in ALL if projection.name == build.name)
    return found if model is None or found.using is None else found.using(model)
