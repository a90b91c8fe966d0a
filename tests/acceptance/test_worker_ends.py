"""How a worker process ends: cleanly when it is told to, and again and again through a message that kills it."""

import asyncio
import json
from time import monotonic

import psycopg
import pytest

from infra.kafka import codec
from tests.support.ingesting import Encoded, publish, survey
from tests.support.letters import dead_letters
from tests.support.processes import Kehu, until

MESSAGES = [codec.structured(one) for number in range(200) for one in survey(number)]
SECONDS = 10.0


def test_a_message_that_kills_every_worker_is_set_aside_after_three_tries(
    kehu: Kehu, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, value, headers = codec.structured(survey(1000)[0])
    poison: Encoded = (key, value, [*headers, ("kehu-failpoint", b"")])
    asyncio.run(publish(kehu.kafka, [*MESSAGES[:50], poison, *MESSAGES[50:]]))
    monkeypatch.setenv("KEHU_FAIL", "marked@1=kill")
    killed = 0
    while kehu.read() < len(MESSAGES) + 1:
        # A new group on the embedded broker, which takes six seconds to miss a member.
        with kehu.worker("kehu" if kehu.apache else f"kehu-{killed}") as worker:
            until(lambda w=worker: w.poll() is not None or kehu.read() == len(MESSAGES) + 1)  # type: ignore[misc]
            killed += worker.poll() is not None
        assert killed <= 6
    assert killed >= 3
    assert [(one["rule"], one["value"]) for one in dead_letters(kehu.postgres)] == [("poison", value)]
    (surveys,) = [row for row in json.loads(kehu.done("show", "reconciliation", "--json")) if row["read"]]
    assert (surveys["appended"], surveys["dead"]) == (len(MESSAGES), 1)


def test_a_worker_that_is_told_to_end_finishes_its_batch(kehu: Kehu) -> None:
    with psycopg.connect(kehu.postgres) as blocking, kehu.worker() as worker:
        blocking.execute("SELECT FROM kehu.log_head FOR UPDATE")
        asyncio.run(publish(kehu.kafka, MESSAGES))
        until(lambda: in_flight(kehu))
        worker.terminate()
        asked = monotonic()
        blocking.rollback()
        assert worker.wait(SECONDS) == 0
        assert monotonic() - asked < SECONDS
    read = kehu.read()
    assert read > 0
    assert kehu.one("SELECT count(*) FROM kehu.inbox") == read
    assert kehu.one("SELECT sum(next_offset)::int FROM kehu.positions") == read
    assert kehu.one("SELECT count(*) FROM kehu.attempts") == 0
    with kehu.worker():
        until(lambda: kehu.read() == len(MESSAGES) and kehu.all_folded())
    assert kehu.one("SELECT sum(appended)::int FROM kehu.positions") == len(MESSAGES)


def test_a_worker_that_is_told_to_end_in_the_middle_of_a_backlog_leaves_the_rest(
    kehu: Kehu, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog = [codec.structured(one) for number in range(4000) for one in survey(number)]
    asyncio.run(publish(kehu.kafka, backlog))
    monkeypatch.setenv("KEHU_MAX_RECORDS", "20")
    with kehu.worker() as worker:
        until(lambda: kehu.read() > 0)
        worker.terminate()
        assert worker.wait(SECONDS) == 0
    read = kehu.read()
    assert 0 < read < len(backlog), "the worker was faster than the test"
    assert kehu.one("SELECT count(*) FROM kehu.inbox") == read
    assert kehu.one("SELECT sum(next_offset)::int FROM kehu.positions") == read
    assert kehu.one("SELECT count(*) FROM kehu.attempts") == 0
    monkeypatch.delenv("KEHU_MAX_RECORDS")
    with kehu.worker():
        until(lambda: kehu.read() == len(backlog))
    assert kehu.one("SELECT sum(appended)::int FROM kehu.positions") == len(backlog)


def test_a_worker_whose_batch_cannot_end_leaves_nothing_of_it(kehu: Kehu) -> None:
    with psycopg.connect(kehu.postgres) as blocking, kehu.worker() as worker:
        blocking.execute("SELECT FROM kehu.log_head FOR UPDATE")
        asyncio.run(publish(kehu.kafka, MESSAGES))
        until(lambda: in_flight(kehu))
        worker.terminate()
        assert worker.wait(SECONDS) == 0
    assert (kehu.read(), kehu.one("SELECT count(*) FROM kehu.inbox")) == (0, 0)
    with kehu.worker():
        until(lambda: kehu.read() == len(MESSAGES) and kehu.all_folded())


def in_flight(kehu: Kehu) -> bool:
    """Whether a batch waits for the row that all writers share."""
    return bool(
        kehu.one(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'kehu-ingest' AND wait_event_type = 'Lock'"
        )
    )
