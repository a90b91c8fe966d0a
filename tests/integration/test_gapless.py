"""The interleavings that make readers of a sequence lose events, forced one by one: here nobody passes over anything.

A reader remembers the last position it saw and asks for what comes after it, as the projector does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest

from domain import registry
from domain.ports import Batch, Unavailable
from domain.survey import SurveyDeclined
from domain.values import Position, Recorded
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres.event_store import EventRow, write
from infra.postgres.log import PostgresLog
from tests.support.builders import meta

_streams = count(1)
STATE = b'{"meta":{"id":"e","source":"/t","subject":"c","time":"2026-03-02T12:00:00Z"},"data":{"invitation_id":"i"}}'


def rows(number: int) -> list[EventRow]:
    """Events of new streams."""
    return [(f"survey-{next(_streams)}", 1, "survey.declined.v1", STATE, "c") for _ in range(number)]


class Reader:
    """Asks for what comes after the last position that it saw."""

    def __init__(self, database: str) -> None:
        self._conn = psycopg.connect(database, autocommit=True)
        self.seen: list[int] = []

    def look(self) -> list[int]:
        """What is new."""
        query = "SELECT notification_id FROM kehu.stored_events WHERE notification_id > %s ORDER BY 1 LIMIT 3"
        new = [n for (n,) in self._conn.execute(query, (self.seen[-1] if self.seen else 0,)).fetchall()]
        self.seen += new
        return new

    def close(self) -> None:
        """Close its connection."""
        self._conn.close()


@pytest.fixture
def reader(database: str) -> Iterator[Reader]:
    made = Reader(database)
    yield made
    made.close()


@contextmanager
def writer(database: str) -> "Iterator[psycopg.Connection[Any]]":
    """A connection with an open transaction that waits for a lock for a tenth of a second."""
    with psycopg.connect(database, options="-c lock_timeout=100") as conn:
        yield conn
        conn.rollback()


def test_while_a_slow_transaction_holds_positions_no_later_one_can_be_seen(database: str, reader: Reader) -> None:
    with writer(database) as slow, writer(database) as quick:
        write(slow, rows(2))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            write(quick, rows(1))
        quick.rollback()
        assert reader.look() == []
        slow.commit()
        assert reader.look() == [1, 2]
        write(quick, rows(1))
        quick.commit()
        assert reader.look() == [3]


def test_a_transaction_that_is_rolled_back_leaves_no_gap_to_wait_for(database: str, reader: Reader) -> None:
    with writer(database) as conn:
        write(conn, rows(1))
        conn.commit()
        write(conn, rows(5))
        conn.rollback()
        write(conn, rows(2))
        conn.commit()
    assert reader.look() == [1, 2, 3]


def test_a_connection_that_breaks_after_taking_positions_leaves_no_gap(database: str, reader: Reader) -> None:
    with psycopg.connect(database) as broken:
        write(broken, rows(4))
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (broken.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            broken.execute("SELECT 1")
    with writer(database) as conn:
        write(conn, rows(1))
        conn.commit()
    assert reader.look() == [1]


def test_long_transactions_elsewhere_hide_nothing(
    database: str, reader: Reader, postgres_server: EmbeddedPostgres
) -> None:
    with writer(postgres_server.create_database("elsewhere")) as other, writer(database) as here:
        other.execute("CREATE TABLE IF NOT EXISTS t (n int)")
        other.execute("INSERT INTO t VALUES (1)")  # an open transaction that writes, in another database
        here.execute("CREATE TABLE long_running (n int)")  # and one in this database, which writes no events
        with writer(database) as conn:
            write(conn, rows(2))
            conn.commit()
        assert reader.look() == [1, 2]


def test_a_stream_is_never_seen_out_of_its_order(database: str, reader: Reader) -> None:
    """Two transactions that began in one order and write one stream in the other: positions follow the commits."""
    with writer(database) as first, writer(database) as second:
        first.execute("SELECT txid_current()")  # it has the older transaction id
        write(second, [("survey-x", 1, "survey.declined.v1", STATE, "c")])
        second.commit()
        write(first, [("survey-x", 2, "survey.declined.v1", STATE, "c")])
        first.commit()
    assert reader.look() == [1, 2]
    with psycopg.connect(database) as conn:
        query = "SELECT originator_version FROM kehu.stored_events ORDER BY notification_id"
        assert conn.execute(query).fetchall() == [(1,), (2,)]


def test_a_writer_that_cannot_get_the_lock_says_so_and_has_written_nothing(database: str) -> None:
    log = PostgresLog(database)
    with writer(database) as slow:
        write(slow, rows(1))
        with pytest.raises(Unavailable):
            _append_one(log)
        slow.rollback()
    assert log.head() == Position(0)
    log.close()


def _append_one(log: PostgresLog) -> None:
    event = SurveyDeclined(invitation_id="i")
    log.append(Batch(events=[Recorded("survey-i", 1, event, meta(), registry.of(event).name)]))
