"""What is appended wakes the projector at once, and at the latest after the poll interval when nobody tells it."""

from collections.abc import Iterator
from contextlib import closing
from threading import Thread
from time import monotonic

import psycopg
import pytest

from consumers.projector import Projector
from domain.ports import Batch
from domain.survey import SurveyInvited
from domain.values import Position
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import Behind, PostgresReadModels
from infra.postgres.wake import Listener
from projections.satisfaction import SATISFACTION
from tests.support.rows import recorded

LONG = 20.0


def append(database: str, name: str = "i1") -> None:
    """One invitation, committed."""
    with closing(PostgresLog(database)) as log:
        log.append(Batch(events=recorded(SurveyInvited(invitation_id=name, metric="nps", scale=10, channel="app"))))


@pytest.fixture
def listener(database: str) -> Iterator[Listener]:
    """A listener that is connected."""
    with closing(Listener(database)) as listener:
        listener.wait(LONG)
        yield listener


def waited(listener: Listener, seconds: float) -> float:
    """How long a wait took."""
    started = monotonic()
    listener.wait(seconds)
    return monotonic() - started


def end_backends(database: str) -> int:
    """End the listening connections from outside; how many there were."""
    with psycopg.connect(database, autocommit=True) as conn:
        ended = conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'kehu-wake'"
        )
        return len(ended.fetchall())


def test_an_append_wakes_also_when_it_came_before_the_wait(database: str, listener: Listener) -> None:
    append(database)
    assert waited(listener, LONG) < LONG / 2
    later = Thread(target=append, args=(database, "i2"))
    later.start()
    # Committed before or after the wait begins: it is heard.
    assert waited(listener, LONG) < LONG / 2
    later.join()


def test_without_an_append_it_waits_no_longer_than_it_is_told(listener: Listener) -> None:
    assert 0.2 <= waited(listener, 0.2) < LONG / 2


def test_a_killed_connection_costs_at_most_the_interval_and_is_made_anew(database: str, listener: Listener) -> None:
    assert end_backends(database) == 1
    assert 0.2 <= waited(listener, 0.2) < LONG / 2
    append(database)
    assert waited(listener, LONG) < LONG / 2, "a new connection may have missed an append: it returns at once"
    append(database, "i2")
    assert waited(listener, LONG) < LONG / 2
    assert end_backends(database) == 1


def test_a_store_that_is_away_is_waited_for_in_intervals() -> None:
    with closing(Listener("host=/nowhere dbname=x")) as listener:
        assert waited(listener, 0.2) >= 0.2


def test_a_position_is_waited_for(database: str) -> None:
    with closing(PostgresReadModels(database)) as models, closing(PostgresLog(database)) as log:
        models.create(SATISFACTION)
        append(database)
        with pytest.raises(Behind, match="position 0 of 1"):
            models.wait_for(SATISFACTION, Position(1), 0.05)

        def fold() -> None:
            with closing(PostgresReadModels(database)) as own:
                Projector(log, own, [SATISFACTION]).run_until_caught_up()

        worker = Thread(target=fold)
        worker.start()
        models.wait_for(SATISFACTION, Position(1), LONG)
        worker.join()
        assert models.position(SATISFACTION) == 1
