"""Sorting what does not fit into memory: runs that are sorted by themselves wait in files without a name."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any, TypeVar

T = TypeVar("T")
AT_ONCE = 5_000
"""Rows in memory at one time, about."""


def descending(rows: Iterable[T], key: Callable[[T], Any], at_once: int = AT_ONCE) -> Iterator[T]:
    """The rows, those with the greatest keys first; of equal keys in the order in which they came."""
    left = iter(rows)
    with ExitStack() as files:
        runs: list[Iterator[T]] = []
        while run := sorted(islice(left, at_once), key=key, reverse=True):
            if not runs and len(run) < at_once:  # all of them
                yield from run
                return
            file = files.enter_context(TemporaryFile())
            for row in run:
                pickle.dump(row, file)
            file.seek(0)
            runs.append(_read(file))
        yield from merge(*runs, key=key, reverse=True)


def _read(file: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(file)  # noqa: S301 (nobody else can write to it: it has no name)
        except EOFError:
            return
