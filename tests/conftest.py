"""Servers for tests: started once, on a socket or a free port, and stopped at the end."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres.migrate import migrate

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for all tests."""
    folder = tmp_path_factory.mktemp("postgres")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # the server's user must reach its folder
    with EmbeddedPostgres.start(folder / "data") as server:
        yield server


@pytest.fixture
def database(postgres_server: EmbeddedPostgres) -> str:
    """A fresh database with the schema; its connection string."""
    url = postgres_server.create_database(f"test_{next(_numbers)}")
    migrate(url)
    return url


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """One broker in memory for all tests."""
    folder: Path = tmp_path_factory.mktemp("broker")
    with EmbeddedBroker.start(folder / "broker.log") as running:
        yield running
