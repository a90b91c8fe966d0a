"""The library's own test cases for recorders, and its application, on our recorder and mapper."""

from itertools import pairwise
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import ApplicationRecorder
from eventsourcing.postgres import PostgresDatastore
from eventsourcing.tests.persistence import ApplicationRecorderTestCase
from psycopg.conninfo import conninfo_to_dict

from infra.postgres.event_store import KehuRecorder
from infra.postgres.migrate import files, migrate


@pytest.fixture(autouse=True)
def _database(request: pytest.FixtureRequest, database: str) -> None:
    if request.instance is not None:
        request.instance.conninfo = database


class TestKehuRecorder(ApplicationRecorderTestCase):
    """Every test of the library for application recorders."""

    conninfo: str

    def create_recorder(self) -> ApplicationRecorder:
        known: dict[str, Any] = conninfo_to_dict(self.conninfo)
        datastore = PostgresDatastore(
            dbname=known["dbname"],
            host=known["host"],
            port="5432",
            user=known["user"],
            password="",
            schema="kehu",
            originator_id_type="text",
            pool_size=10,
        )
        self.addCleanup(datastore.close)
        return KehuRecorder(datastore)

    def new_originator_id(self) -> str:
        return str(uuid4())

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


def test_migrations_run_once_and_are_named_by_their_order(database: str) -> None:
    assert migrate(database) == []
    numbers = [int(file.stem.partition("_")[0]) for file in files()]
    assert all(one < following for one, following in pairwise(numbers))  # no two have one number
    for number, file in zip(numbers, files(), strict=True):
        assert file.stem.startswith((f"{number:04}_pre_", f"{number:04}_post_"))


def test_an_auditor_reads_the_log_with_sql(database: str) -> None:
    with psycopg.connect(database) as conn:
        columns = conn.execute("SELECT * FROM kehu.event_log").description
    assert columns is not None
    assert [c.name for c in columns][:5] == ["position", "recorded_at", "stream", "version", "type"]
