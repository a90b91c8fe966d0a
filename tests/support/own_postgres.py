"""A PostgreSQL of the tests: one for all of them, or one for a test that stops it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import psycopg

from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres import roles
from infra.postgres.builds import Builds
from infra.postgres.migrate import migrate
from projections.catalogue import ALL

NOTHING_TO_KEEP = {"fsync": "off", "full_page_writes": "off"}
"""Both guard against a machine that loses power. What a killed server had committed is there again without them."""


@contextmanager
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A running server; stopped and gone at the end."""
    # Not below pytest's own folder: that is private, also to the server's user.
    folder = Path(mkdtemp(prefix="kehu-test-"))
    folder.chmod(0o755)
    with EmbeddedPostgres.start(folder / "data", options=NOTHING_TO_KEEP) as server:
        yield server
    rmtree(folder)


@contextmanager
def guarded_database() -> Iterator[str]:
    """A database with schema, read models and roles; on a server of its own, since roles belong to the server."""
    with own_postgres() as server:
        url = server.create_database("guarded")
        migrate(url)
        with closing(Builds(url)) as builds:
            for projection in ALL:
                builds.set_up(projection)
        with psycopg.connect(url) as conn:
            roles.make(conn)
        yield url
