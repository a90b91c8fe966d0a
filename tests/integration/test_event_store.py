"""The event store in PostgreSQL beyond its conformance: the library's application, lost connections, many writers."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from psycopg.conninfo import conninfo_to_dict

from domain import handling, registry
from domain.ports import Batch, Conflict, Fenced, InboxEntry, Move, Partition, Unavailable
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event, Position, Recorded
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import files, migrate, pending
from tests.support.builders import SURVEYS, meta

INVITED = SurveyInvited(invitation_id="i", metric="csat", scale=5, channel="app")
ANSWERED = SurveyAnswered(invitation_id="i", score=4)


def recorded(version: int, event: Event = ANSWERED, stream: str = "survey-i") -> Recorded:
    return Recorded(stream, version, event, meta(f"e{version}"), registry.of(event).name)


def project(state: Any, events: Iterable[Any]) -> Any:
    """How a repository of the library rebuilds our state; no events, no aggregate."""
    return handling.fold(tuple(events), state)


@pytest.fixture
def log(database: str) -> Iterator[PostgresLog]:
    postgres = PostgresLog(database)
    postgres.claim([SURVEYS])
    yield postgres
    postgres.close()


@pytest.fixture
def application(database: str) -> Iterator[Application[str]]:
    known: dict[str, Any] = conninfo_to_dict(database)
    app: Application[str] = Application(
        env={
            "PERSISTENCE_MODULE": "infra.postgres.event_store",
            "POSTGRES_DBNAME": known["dbname"],
            "POSTGRES_HOST": known["host"],
            "POSTGRES_USER": known["user"],
            "POSTGRES_PASSWORD": "",
        }
    )
    yield app
    app.close()


def test_an_application_of_the_library_saves_and_projects_our_events(application: Application[str]) -> None:
    invited, answered = recorded(1, INVITED), recorded(2)
    saved = application.save(invited, answered)
    assert [r.notification.id for r in saved] == [1, 2]
    state = application.repository.get("survey-i", projector_func=project)
    assert state == handling.fold((invited, answered), None)
    with pytest.raises(AggregateNotFoundError):
        application.repository.get("survey-x", projector_func=project)


def test_what_an_application_saves_is_in_the_log_and_can_move_positions(
    application: Application[str], log: PostgresLog, database: str
) -> None:
    application.save(recorded(1, INVITED), batch=Batch(moves=[Move(SURVEYS, 0, 1, appended=1)]))
    assert log.claim([SURVEYS]) == {SURVEYS: 1}
    (read,) = log.read(Position(0), 10)
    assert (read.event, read.meta) == (INVITED, meta("e1"))
    with pytest.raises(Fenced):
        application.save(recorded(2), batch=Batch(moves=[Move(SURVEYS, 0, 1)]))
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT customer_id, data ->> 'channel' FROM kehu.event_log").fetchall() == [("c1", "app")]


def test_a_recorder_writes_a_batch_that_has_no_events(application: Application[str], log: PostgresLog) -> None:
    assert application.recorder.insert_events([], batch=Batch(moves=[Move(SURVEYS, 0, 3, duplicate=3)])) is None
    assert log.claim([SURVEYS]) == {SURVEYS: 3}


def test_a_former_owner_is_fenced(log: PostgresLog, database: str) -> None:
    heir = PostgresLog(database)
    assert heir.claim([SURVEYS]) == {SURVEYS: 0}
    heir.append(Batch(moves=[Move(SURVEYS, 0, 1)], events=[recorded(1, INVITED)]))
    with pytest.raises(Fenced):
        log.append(Batch(moves=[Move(SURVEYS, 0, 1)], events=[recorded(1, INVITED)]))
    heir.close()


def test_a_lost_connection_is_unavailable_once_and_then_made_again(log: PostgresLog, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'kehu-ingest'"
        ).fetchall()
    assert ended == [(True,)]
    with pytest.raises(Unavailable):
        log.append(Batch(moves=[Move(SURVEYS, 0, 1)], events=[recorded(1, INVITED)]))
    assert log.claim([SURVEYS]) == {SURVEYS: 0}
    assert log.append(Batch(moves=[Move(SURVEYS, 0, 1)], events=[recorded(1, INVITED)])) == 1


def test_a_worker_that_is_frozen_inside_copy_is_ended_by_the_next(log: PostgresLog, database: str) -> None:
    batch = Batch(moves=[Move(SURVEYS, 0, 1)], events=[recorded(1, INVITED)])
    with psycopg.connect(database, application_name="kehu-ingest") as frozen:
        frozen.execute("UPDATE kehu.positions SET next_offset = 7")
        frozen.pgconn.send_query(b"COPY kehu.inbox FROM STDIN")
        with pytest.raises(Unavailable, match="ended 1 frozen"):
            log.append(batch)
        frozen.close()
    assert log.append(batch) == 1
    assert log.claim([SURVEYS]) == {SURVEYS: 1}


def test_many_writers_leave_no_gap_and_recorded_time_never_goes_back(database: str) -> None:
    def work(number: int) -> None:
        mine = Partition("kehu.surveys", "topic-1", number)
        log = PostgresLog(database)
        log.claim([mine])
        log.append(Batch(moves=[Move(mine, 0, 1)], inbox=[InboxEntry(bytes([number]), b"c", "s")]))
        for turn in range(20):
            events = [recorded(1, INVITED, f"survey-{number}-{turn}-{n}") for n in range(5)]
            with pytest.raises(Conflict):
                log.append(Batch(moves=[Move(mine, turn + 1, 9)], events=[*events, events[0]]))
            log.append(Batch(moves=[Move(mine, turn + 1, turn + 2)], events=events))
        log.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    log = PostgresLog(database)
    read = log.read(Position(0), 1000)
    log.close()
    assert [e.position for e in read] == list(range(1, 401))
    times = [e.recorded_at for e in read if e.recorded_at]
    assert len(times) == 400
    assert times == sorted(times)


def test_migrations_are_pending_until_they_have_run(database: str) -> None:
    assert pending(database) == []
    with psycopg.connect(database) as conn:
        conn.execute("DROP SCHEMA kehu CASCADE")
        conn.execute("DROP TABLE public.kehu_migrations")
    names = [file.stem for file in files()]
    assert pending(database) == names
    assert migrate(database) == names
    assert migrate(database) == []
