"""How far a command is that takes long, told on standard error."""

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

from infra.cli.output import console


def progress(*columns: ProgressColumn, transient: bool = True) -> Progress:
    """Bars with what is done before each and `columns` behind it, gone in the end where they are `transient`."""
    shown = (TextColumn("{task.description}"), BarColumn(), *columns)
    return Progress(*shown, console=console(stderr=True), transient=transient)


def events() -> ProgressColumn:
    """How many events were read, where nobody knows how many there will be."""
    return TextColumn("{task.completed:,} events")
