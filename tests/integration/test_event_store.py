"""The event store in PostgreSQL beyond its conformance: the library's application, lost connections, many writers."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event as Signal
from typing import Any

import psycopg
import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict

from domain import handling, registry
from domain.ports import Batch, Conflict, Fenced, InboxEntry, Move, Parked, Partition, Unavailable
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event, Position, Recorded
from infra.postgres.event_store import write
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import files, migrate, pending
from tests.support.builders import NOON, SURVEYS, message, meta
from tests.support.processes import until

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


def test_a_slow_worker_is_not_taken_for_a_frozen_one(log: PostgresLog, database: str) -> None:
    batch = Batch(moves=[Move(SURVEYS, 0, 1)], events=[recorded(1, INVITED)])
    given_up = Signal()
    with psycopg.connect(database, application_name="kehu-ingest") as slow, ThreadPoolExecutor(1) as thread:
        slow.execute("UPDATE kehu.positions SET next_offset = 0")

        def copy() -> int:
            rows, large = 0, "00" * 50_000  # more than the client collects before it sends
            with slow.cursor().copy("COPY kehu.inbox (key, content, stream) FROM STDIN") as copying:
                while not given_up.wait(0.1):
                    copying.write(f"\\\\x{rows:04x}\t\\\\x{large}\tsurvey-i\n")
                    rows += 1
            slow.commit()
            return rows

        rows = thread.submit(copy)
        try:
            with pytest.raises(Unavailable, match="ended 0 frozen"):
                log.append(batch)
        finally:
            given_up.set()
        assert rows.result() > 20
    assert log.append(batch) == 1


def test_two_workers_that_change_one_queue_leave_nobody_asleep(log: PostgresLog, database: str) -> None:
    """One takes the only message out while the other parks one behind it: neither sees what the other does."""

    def waiting(offset: int, next_try_at: datetime | None) -> Parked:
        return Parked("survey-i", message(offset, b""), "too-early", "", NOON, NOON + timedelta(days=1), next_try_at)

    log.append(Batch(moves=[Move(SURVEYS, 0, 1, parked=1)], park=[waiting(0, NOON)]))
    (first,) = log.load(["survey-i"])["survey-i"].parked
    other = replace(SURVEYS, number=1)
    log.claim([other])
    with psycopg.connect(database) as one, ThreadPoolExecutor(1) as thread:
        write(one, [], Batch(moves=[Move(SURVEYS, 1, 1, parked=-1)], unpark=[first.seq]))
        behind = Batch(moves=[Move(other, 0, 1, parked=1)], park=[waiting(0, None)])
        parked = thread.submit(log.append, behind)
        until(lambda: parked.done() or waits_for_a_lock(database))
        one.commit()
        parked.result()
    assert list(log.due_parked([SURVEYS, other], NOON, 10)) == ["survey-i"]


def waits_for_a_lock(database: str) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database) as conn:
        row = conn.execute(query).fetchone()
    return row is not None and row[0] > 0


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
