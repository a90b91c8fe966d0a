"""The processes that fill new builds from the log: each takes a slice of the customers."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from contextlib import suppress
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

import psycopg

from consumers.filling import fill
from domain import handling
from domain.values import Position
from infra import interpreter
from infra.errors import KehuError
from infra.postgres import indexes
from infra.postgres.builds import Build
from infra.postgres.risk_models import document
from infra.postgres.slices import Slice, slices_of
from projections.catalogue import ALL
from projections.declare import Projection, personal_for

LOOK = 0.2
"""Seconds between two looks at how far the processes are."""
_read: Any = None
"""In a process that fills: the events that all of them have read."""
_over: Any = None
"""In a process that fills: whether it shall end before it is done."""


class Over(KehuError):
    """Another slice failed, or the command ends."""


def fill_builds(
    postgres: str, builds: Sequence[Build], upto: Position, processes: int, told: Callable[[int], None]
) -> None:
    """Fill empty candidates with what follows from the log up to a position, and make their indexes.

    This process is the last of so many. `told` hears how many events were read. Raises CannotFold, and what is
    committed of the candidates by then is of no use.
    """
    context = get_context("spawn")
    read, over = context.Value("q", 0), context.Event()
    _share(read, over)
    with psycopg.connect(postgres, application_name="kehu-fill") as conn:
        models = {one.name: document(conn, one.model) for one in builds if one.model is not None}
    slices = slices_of(upto, processes)
    works = [partial(_fill, postgres, builds, models, upto, number, slices) for number in range(slices)]
    ours, others = works[::processes], [work for number, work in enumerate(works) if number % processes]
    pool = None
    if others:
        pool = ProcessPoolExecutor(processes - 1, context, initializer=_begin, initargs=(read, over))
        interpreter.calm_garbage()
    try:
        left = {pool.submit(work) for work in others} if pool else set()
        with suppress(Over):  # another process says why
            for work in ours:
                work()
                told(read.value)
        while left:
            done, left = wait(left, LOOK, FIRST_EXCEPTION)
            told(read.value)
            for one in done:
                if (error := one.exception()) and not isinstance(error, Over):
                    raise error
    finally:
        over.set()  # what is not committed is gone
        if pool:
            pool.shutdown(cancel_futures=True)
    indexes.finish(postgres, [(_projection(build), build) for build in builds], processes)


def _share(read: Any, over: Any) -> None:
    global _read, _over
    _read, _over = read, over


def _begin(read: Any, over: Any) -> None:
    _share(read, over)
    assert handling.AGGREGATES  # the aggregates register their events when they are imported, in every process
    Thread(target=_end_with_parent, daemon=True).start()
    interpreter.calm_garbage()


def _end_with_parent() -> None:
    """A command that is killed leaves no process behind, neither one that works nor one that waits for work."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _fill(
    postgres: str, builds: Sequence[Build], models: Mapping[str, bytes], upto: Position, number: int, slices: int
) -> None:
    def told(events: int) -> None:
        if _over.is_set():
            raise Over
        with _read.get_lock():
            _read.value += events

    projections = [_projection(build, models.get(build.name)) for build in builds]
    wanted = frozenset().union(*(one.handles for one in projections))
    try:
        with Slice.begin(postgres, builds) as piece:
            fill(projections, piece.events(wanted, personal_for(projections), upto, number, slices, told), piece)
            told(0)
    except Exception:
        _over.set()  # the others need not go on
        raise


def _projection(build: Build, model: bytes | None = None) -> Projection:
    found = next(projection for projection in ALL if projection.name == build.name)
    return found if model is None or found.using is None else found.using(model)
