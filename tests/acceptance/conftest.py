"""Servers for the acceptance tests: a broker and a database for each test."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from tests.support.apache_kafka import ApacheKafka
from tests.support.processes import Kehu

_numbers = count(1)


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def kehu(request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[Kehu]:
    """The command line on a database and a broker of its own, set up; with `make test-kafka` on Apache Kafka."""
    url = postgres_server.create_database(f"acceptance_{next(_numbers)}")
    apache = request.param == "apache"
    with ApacheKafka.start(tmp_path / "kafka") if apache else EmbeddedBroker.start(tmp_path / "broker.log") as broker:
        made = Kehu(url, broker.bootstrap_servers, tmp_path, apache)
        made.done("setup", "--partitions", "2")
        yield made
