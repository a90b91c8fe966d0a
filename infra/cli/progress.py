"""How far a command is that takes long, told on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from infra.cli.output import console

TOLD_EVERY = 1_000
"""Rows that are counted together."""


def progress(*columns: ProgressColumn, transient: bool = True) -> Progress:
    """Bars with what is done before each and `columns` behind it, gone in the end where they are `transient`."""
    shown = (TextColumn("{task.description}"), BarColumn(), *columns)
    return Progress(*shown, console=console(stderr=True), transient=transient)


def events() -> ProgressColumn:
    """How many events were read, where nobody knows how many there will be."""
    return TextColumn("{task.completed:,} events")


@contextmanager
def counting(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar of so many rows, None where nobody knows how many; it is told how many were done since."""
    with progress(TextColumn("{task.completed:,}"), TimeRemainingColumn()) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.advance(task, done)
