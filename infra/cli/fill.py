"""The processes that fill new builds from the log: each takes a slice of the customers."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.context import SpawnContext
from threading import Thread
from typing import Any

from consumers.filling import fill
from domain import handling
from domain.values import Position
from infra import garbage
from infra.errors import KehuError
from infra.postgres.builds import Build
from infra.postgres.filled import Slice
from projections.catalogue import ALL

SLICES = 2
"""Slices for each process, so that all of them end at about the same time."""
LOOK = 0.2
"""Seconds between two looks at how far the processes are."""
_read: Any = None
"""In a process that fills: the events that all of them have read."""
_over: Any = None
"""In a process that fills: whether it shall end before it is done."""


class Over(KehuError):
    """Another slice failed, or the command ends."""


class Filling:
    """Fills empty candidates up to a position, in so many processes, of which this one is the last.

    The others begin when it is made, and this one helps when it waits.
    """

    def __init__(self, postgres: str, builds: Sequence[Build], upto: Position, processes: int) -> None:
        self.builds, self.upto = builds, upto
        context: SpawnContext = get_context("spawn")
        self._read, self._over = context.Value("q", 0), context.Event()
        shared = (self._read, self._over)
        self._pool = ProcessPoolExecutor(max(1, processes - 1), context, initializer=_begin, initargs=shared)
        slices = SLICES * processes
        self._slices: dict[Future[None], Callable[[], None]] = {}
        for number in range(slices):
            work = partial(_fill, postgres, builds, upto, number, slices)
            self._slices[self._pool.submit(work) if processes > 1 else Future()] = work

    def wait(self, told: Callable[[int], None]) -> None:
        """Return when all rows are there; raises what stopped a slice. `told` hears how many events were read."""
        global _read, _over
        _read, _over = self._read, self._over
        for future, work in reversed(self._slices.items()):
            if future.cancel():  # no other process has begun with it
                work()
                told(int(self._read.value))
        left = {future for future in self._slices if not future.cancelled()}
        while left:
            done, left = wait(left, LOOK, FIRST_EXCEPTION)
            told(int(self._read.value))
            for one in done:
                one.result()

    def close(self) -> None:
        """End the processes; what is not committed is gone."""
        self._over.set()
        self._pool.shutdown(cancel_futures=True)


def _begin(read: Any, over: Any) -> None:
    global _read, _over
    _read, _over = read, over
    assert handling.AGGREGATES  # the aggregates register their events when they are imported, in every process
    Thread(target=_end_with_parent, daemon=True).start()
    garbage.calm()


def _end_with_parent() -> None:
    """A command that is killed leaves no process behind, neither one that works nor one that waits for work."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _fill(postgres: str, builds: Sequence[Build], upto: Position, number: int, slices: int) -> None:
    names = {build.name for build in builds}

    def told(events: int) -> None:
        if _over.is_set():
            raise Over
        with _read.get_lock():
            _read.value += events

    projections = [one for one in ALL if one.name in names]
    wanted = frozenset().union(*(one.handles for one in projections))
    with Slice.begin(postgres, builds) as piece:
        fill(projections, piece.events(wanted, upto, number, slices, told), piece)
        told(0)
