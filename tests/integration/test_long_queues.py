"""PostgreSQL with a hundred thousand parked messages: what is asked each second and with each batch stays cheap."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from domain.ports import Batch, Move, Parked
from infra.postgres import event_store
from infra.postgres import log as store
from infra.postgres.log import PostgresLog
from tests.support.builders import NOON, SURVEYS, message

LATER = NOON + timedelta(minutes=1)
MANY = 100_000


@pytest.fixture
def log(database: str) -> Iterator[PostgresLog]:
    """A store in which one stream has a long queue, and as many streams wait for one message each."""
    made = PostgresLog(database)
    made.claim([SURVEYS])
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            """INSERT INTO kehu.parked (stream, topic, topic_id, partition, kafka_offset, kafka_timestamp, key, value,
                header_names, header_values, rule, detail, parked_at, expires_at, next_try_at)
            SELECT CASE WHEN one THEN 'survey-long' ELSE 'survey-' || n END, 'kehu.surveys', 'topic-1', 0, n, 0, 'c1',
                '{}', '{}', '{}', 'survey-not-invited-yet', '', %(now)s, %(now)s::timestamptz + interval '1 day',
                CASE WHEN n = 1 OR NOT one THEN %(now)s::timestamptz + interval '5 s' END
            FROM generate_series(1, %(many)s) n, unnest(ARRAY[true, false]) one ORDER BY one DESC, n""",
            {"now": NOON, "many": MANY},
        )
        conn.execute("UPDATE kehu.positions SET parked = (SELECT count(*) FROM kehu.parked)")
        conn.execute("ANALYZE kehu.parked")
    yield made
    made.close()


def rows_read(database: str, query: str, values: tuple[object, ...]) -> int:
    """Rows that a query takes from tables, index or not; raises when it reads a whole table."""
    with psycopg.connect(database) as conn:
        row = conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), values).fetchone()
    assert row is not None

    def read(node: dict[str, Any]) -> float:
        assert node["Node Type"] != "Seq Scan", json.dumps(node)
        assert node.get("Rows Removed by Filter", 0) < 100, json.dumps(node)
        own = node["Actual Rows"] * node["Actual Loops"] if "Relation Name" in node else 0
        return float(own + sum(map(read, node.get("Plans", []))))

    return round(read(row[0][0]["Plan"]))


def test_asking_what_is_due_reads_no_more_than_it_gives_back(log: PostgresLog, database: str) -> None:
    assert "survey-long" in log.due_parked([SURVEYS], LATER, 200)
    assert len(log.due_parked([SURVEYS], LATER, 200)) == 200
    values = (["topic-1"], [0], LATER, 2000, 200)
    assert rows_read(database, store._DUE, values) <= 2 * 2000 + 200


def test_a_long_queue_is_loaded_by_its_head(log: PostgresLog, database: str) -> None:
    stream = log.load(["survey-long"])["survey-long"]
    assert (len(stream.parked), stream.more) == (20, True)
    # One row of each tells that there are any.
    assert rows_read(database, store._QUEUES, ("survey-long\nsurvey-7", 21, 21)) <= 2 * (1 + 21)
    assert rows_read(database, store._QUEUES, ("survey-none\nsurvey-long-not", 21, 21)) <= 2 * 21
    assert rows_read(database, store._BEHIND, ("survey-long", stream.parked[-1].seq, 500)) <= 500


def test_parking_and_leaving_reads_the_head_of_the_queue_only(log: PostgresLog, database: str) -> None:
    assert rows_read(database, event_store._WAKE, (["survey-long", "survey-7", "survey-none"],)) <= 2 * 3
    (head, *_), told = log.load(["survey-long"])["survey-long"].parked, Move(SURVEYS, 0, 1, parked=0)
    behind = Parked("survey-long", message(0, b"{}"), "waits-behind", "", NOON, LATER, None)
    log.append(Batch(moves=[told], park=[behind], unpark=[head.seq]))
    (oldest, *_) = log.load(["survey-long"])["survey-long"].parked
    assert (oldest.seq, oldest.next_try_at) == (head.seq + 1, NOON)
    assert replace(oldest, seq=0).message.offset == 2
