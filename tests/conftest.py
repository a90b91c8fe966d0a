"""Servers for tests: started once, on a socket or a free port, and stopped at the end."""

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.heads import HEADS
from infra.kafka.topics import DEAD_LETTERS, TOPICS
from infra.kafka.views import VIEW_TOPICS
from infra.postgres.migrate import migrate
from tests.support.apache_kafka import ApacheKafka
from tests.support.ingesting import make_anew
from tests.support.own_postgres import own_postgres
from tests.support.world import World

Broker = EmbeddedBroker | ApacheKafka

_numbers = count(1)

# The processes that tests start have it, too. Not one for development, which would be made in the home of the user.
os.environ.setdefault("KEHU_MASTER_KEY", "a2VodSBrZWh1IGtlaHUga2VodSBrZWh1IGtlaHUga2U=")

# A machine that is busy is no failure.
settings.register_profile("kehu", deadline=None)
settings.load_profile("kehu")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for all tests."""
    with own_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def schema(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with the schema and nothing else, which is only copied."""
    migrate(postgres_server.create_database("schema"))
    return "schema"


@pytest.fixture
def database(postgres_server: EmbeddedPostgres, schema: str) -> str:
    """A fresh database with the schema; its connection string."""
    return postgres_server.create_database(f"test_{next(_numbers)}", template=schema)


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """Read models in a fresh database, over a log in memory that grows."""
    with closing(World(database)) as made:
        yield made


@pytest.fixture(scope="session", params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests: in memory, and with `make test-kafka` Apache Kafka."""
    folder: Path = tmp_path_factory.mktemp("broker")
    with ApacheKafka.start(folder) if request.param == "apache" else EmbeddedBroker.start(folder / "log") as running:
        yield running


@pytest.fixture
def topics(broker: Broker) -> str:
    """The address of the broker, with Kehu's topics new and empty."""
    make_anew(broker.bootstrap_servers, [*TOPICS.values(), DEAD_LETTERS, HEADS, *VIEW_TOPICS])
    return broker.bootstrap_servers
