"""`kehu --version`: which release this is."""

import platform
from importlib.metadata import version
from typing import Annotated

import typer


def release() -> str:
    """The release that runs, and the Python that runs it."""
    return f"kehu {version('kehu')} (Python {platform.python_version()})"


def _tell(asked: bool) -> None:
    if asked:
        typer.echo(release())
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_tell, is_eager=True, help="Which release this is.")]
