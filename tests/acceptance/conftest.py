"""Servers for the acceptance tests, and a published history that commands are asked about."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from tests.support.apache_kafka import ApacheKafka
from tests.support.cli import History, publish_history
from tests.support.processes import Kehu

_copies, _numbers = count(1), count(1)


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
    postgres = postgres_server.create_database(f"history_{next(_copies)}", template="history")
    with EmbeddedBroker.start(tmp_path / "broker.log") as broker:
        yield replace(history, postgres=postgres, kafka=broker.bootstrap_servers)


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def kehu(request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Kehu]:
    """The command line on a database and a broker of its own, set up; with `make test-kafka` on Apache Kafka."""
    url = postgres_server.create_database(f"acceptance_{next(_numbers)}")
    apache = request.param == "apache"
    with ApacheKafka.start(tmp_path / "kafka") if apache else EmbeddedBroker.start(tmp_path / "broker.log") as broker:
        made = Kehu(url, broker.bootstrap_servers, tmp_path, apache)
        made.done("setup", "--partitions", "2")
        yield made
