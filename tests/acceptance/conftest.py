"""A published history that commands are asked about: made once, and copied for those that change it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from tests.support.cli import History, publish_history

_copies = count(1)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same terminal for every test, and no server that is named outside of it."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("KEHU_POSTGRES", raising=False)
    monkeypatch.delenv("KEHU_KAFKA", raising=False)


@pytest.fixture(scope="session")
def history(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """For commands that change nothing."""
    with EmbeddedBroker.start(tmp_path_factory.mktemp("history") / "broker.log") as broker:
        yield publish_history(postgres_server.create_database("history"), broker.bootstrap_servers)


@pytest.fixture
def copied(history: History, postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[History]:
    """For commands that change something: the same database, and a broker of its own that holds nothing."""
    name = f"history_{next(_copies)}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE history").format(sql.Identifier(name)))
    with EmbeddedBroker.start(tmp_path / "broker.log") as broker:
        yield replace(history, postgres=postgres_server.url(name), kafka=broker.bootstrap_servers)
