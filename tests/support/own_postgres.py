"""A PostgreSQL for one test, which may stop it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from infra.embedded.postgres import EmbeddedPostgres


@contextmanager
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A running server; stopped and gone at the end."""
    # Not below pytest's own folder: that is private, also to the server's user.
    folder = Path(mkdtemp(prefix="kehu-test-"))
    folder.chmod(0o755)
    with EmbeddedPostgres.start(folder / "data") as server:
        yield server
    rmtree(folder)
