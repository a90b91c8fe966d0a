"""The processes that fill new builds from the log: each takes a slice of the customers."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from multiprocessing.context import SpawnContext
from typing import Any

from consumers.filling import fill
from domain.values import Position
from infra import garbage
from infra.errors import KehuError
from infra.postgres.builds import Build
from infra.postgres.filled import Slice
from projections.catalogue import ALL

LOOK = 0.2
"""Seconds between two looks at how far the processes are."""
_read: Any = None
"""In a process that fills: the events that all of them have read."""


class Orphaned(KehuError):
    """The command that this process fills builds for has ended."""


class Filling:
    """Fills empty candidates up to a position, in processes of its own, from the moment it is made."""

    def __init__(self, postgres: str, builds: Sequence[Build], upto: Position, processes: int) -> None:
        self.builds, self.upto = builds, upto
        context: SpawnContext = get_context("spawn")
        self._read = context.Value("q", 0)
        self._pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(self._read,))
        self._slices: list[Future[None]] = [
            self._pool.submit(_fill, postgres, builds, upto, number, processes) for number in range(processes)
        ]

    def wait(self, told: Callable[[int], None]) -> None:
        """Return when all rows are there; raises what stopped a slice. `told` hears how many events were read."""
        try:
            left: set[Future[None]] = set(self._slices)
            while left:
                done, left = wait(left, LOOK, FIRST_EXCEPTION)
                told(int(self._read.value))
                for one in done:
                    one.result()
        finally:
            self.close()

    def close(self) -> None:
        """End the processes; what is not committed is gone."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self._pool.shutdown(cancel_futures=True)


def _begin(read: Any) -> None:
    global _read
    _read = read
    garbage.calm()


def _fill(postgres: str, builds: Sequence[Build], upto: Position, number: int, slices: int) -> None:
    parent = os.getppid()
    names = {build.name for build in builds}

    def told(events: int) -> None:
        if os.getppid() != parent:
            raise Orphaned
        with _read.get_lock():
            _read.value += events

    projections = [one for one in ALL if one.name in names]
    wanted = frozenset().union(*(one.handles for one in projections))
    with Slice.begin(postgres, builds) as piece:
        fill(projections, piece.events(wanted, upto, number, slices, told), piece)
        told(0)
