"""What the metrics tell of the store: as its tables say, and at a cost that does not grow with what waits."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from time import process_time
from typing import Any

import psycopg
import pytest
from prometheus_client import generate_latest

from domain.ports import Batch, DeadLetter, Move, Parked, Unavailable
from domain.survey import SurveyInvited
from infra import bootstrap
from infra.figures import Reading
from infra.kafka.topics import TOPICS
from infra.postgres.builds import Builds
from infra.postgres.holdings import COUNTED, FOLDINGS, MOST, PARKED, UNPUBLISHED, Holdings
from infra.postgres.log import PostgresLog
from infra.telemetry import Telemetry
from projections.catalogue import ALL
from projections.satisfaction import SATISFACTION
from tests.support.builders import NOON, SURVEYS, message
from tests.support.rows import recorded

MANY = 100_000
BAR = 0.01
"""Share of a core that an idle worker may take."""


@pytest.fixture
def holdings(database: str) -> Iterator[Holdings]:
    """A store with its read models, empty."""
    with closing(Builds(database)) as builds:
        for projection in ALL:
            builds.set_up(projection)
    with closing(Holdings(database)) as made:
        yield made


def test_what_is_held_is_what_the_tables_say(holdings: Holdings, database: str) -> None:
    before = bootstrap.now()
    with closing(PostgresLog(database)) as log:
        log.claim([SURVEYS])
        invited = SurveyInvited(invitation_id="i", metric="nps", scale=10, channel="app")
        log.append(
            Batch(
                moves=[Move(SURVEYS, 0, 5, appended=1, parked=2, dead=2)],
                events=recorded(invited),
                park=[
                    Parked(
                        f"survey-{n}", message(n, b"{}"), "too-early", "", before, before + timedelta(days=1), before
                    )
                    for n in (1, 2)
                ],
                dead=[DeadLetter(message(n, b"{"), "bad-json", "", None, None, None, before) for n in (3, 4)],
            )
        )
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE kehu.dead_letters SET published = true WHERE kafka_offset = 3")
        conn.execute("UPDATE kehu.projection_builds SET error = 'at 1' WHERE name = 'satisfaction'")
        conn.execute("UPDATE kehu.projection_builds SET position = 1 WHERE name = 'customer_timeline'")
    found = holdings.read()
    longest = (bootstrap.now() - before).total_seconds()
    assert (found.head, found.parked, found.dead, found.unpublished) == (1, {"kehu.surveys": 2}, {"kehu.surveys": 2}, 1)
    assert 0 < found.parked_age <= longest
    assert 0 < found.unpublished_age <= longest
    assert abs(found.at - bootstrap.now().timestamp()) < 5
    foldings = {one.name: one for one in found.foldings}
    assert foldings.keys() == {projection.name for projection in ALL}
    folded, stopped = foldings["customer_timeline"], foldings["satisfaction"]
    assert (folded.position, folded.behind, folded.seconds, folded.stopped) == (1, 0, 0, False)
    assert (stopped.position, stopped.behind, stopped.stopped, stopped.paused) == (0, 1, True, False)
    assert 0 < stopped.seconds <= longest


def test_a_read_model_that_rests_is_told_apart_from_one_that_stopped(holdings: Holdings, database: str) -> None:
    with closing(Builds(database)) as builds:
        builds.pause(SATISFACTION.name, "a test", None, NOON, paused=True)
    (resting,) = [one for one in holdings.read().foldings if one.name == SATISFACTION.name]
    assert (resting.paused, resting.stopped) == (True, False)


def test_an_empty_store_holds_nothing_that_is_old(holdings: Holdings) -> None:
    found = holdings.read()
    assert (found.head, found.parked_age, found.unpublished, found.unpublished_age) == (0, 0, 0, 0)
    assert [one.seconds for one in found.foldings] == [0] * len(ALL)


def test_without_a_schema_the_store_cannot_be_asked(postgres_server: Any) -> None:
    url = postgres_server.create_database("no_schema")
    with closing(Holdings(url)) as holdings, pytest.raises(Unavailable, match="kehu setup"):
        holdings.read()


@pytest.fixture
def full(holdings: Holdings, database: str) -> Holdings:
    """A hundred thousand messages that wait, as many published dead letters, and some thousand that are not."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            """INSERT INTO kehu.parked (stream, topic, topic_id, partition, kafka_offset, kafka_timestamp, header_names,
                header_values, rule, detail, parked_at, expires_at)
            SELECT 'survey-' || n, 'kehu.surveys', 'topic-1', 0, n, 0, '{}', '{}', 'too-early', '', %s, 'infinity'
            FROM generate_series(1, %s) n""",
            (NOON, MANY),
        )
        conn.execute(
            """INSERT INTO kehu.dead_letters (topic, topic_id, partition, kafka_offset, kafka_timestamp, header_names,
                header_values, rule, detail, died_at, published)
            SELECT 'kehu.surveys', 'topic-1', 0, n, 0, '{}', '{}', 'bad-json', '', %s, n <= %s
            FROM generate_series(1, %s) n""",
            (NOON, MANY, MANY + MOST + 500),
        )
        conn.execute("ANALYZE kehu.parked, kehu.dead_letters")
    return holdings


def rows_read(conn: "psycopg.Connection[Any]", query: str) -> int:
    """Rows that a query takes from tables with much in them; raises when it reads one through."""
    row = conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode()).fetchone()
    assert row is not None

    def read(node: dict[str, Any]) -> float:
        name = node.get("Relation Name")
        large = name in ("parked", "dead_letters", "stored_events")
        assert not large or node["Node Type"] != "Seq Scan", json.dumps(node)
        assert node.get("Rows Removed by Filter", 0) < 100, json.dumps(node)
        own = node["Actual Rows"] * node["Actual Loops"] if large else 0
        return float(own + sum(map(read, node.get("Plans", []))))

    return round(read(row[0][0]["Plan"]))


def test_however_much_waits_only_a_bounded_part_is_read(full: Holdings, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        assert rows_read(conn, PARKED) == 1
        assert rows_read(conn, UNPUBLISHED) == MOST
        assert rows_read(conn, COUNTED) == 0
        assert rows_read(conn, FOLDINGS) == 0
    assert full.read().unpublished == MOST


def test_an_idle_worker_has_nearly_all_of_its_share_left(full: Holdings) -> None:
    """Processor time of this process for the store's look and a scrape, against what an idle worker may take."""
    telemetry = Telemetry(TOPICS.values())
    telemetry.ask(lambda: Reading(20, 20, 0, dict.fromkeys(TOPICS.values(), 0)), {"postgresql": lambda: None})
    telemetry.show(full.read())
    look, scrape = seconds(full.read), seconds(lambda: generate_latest(telemetry.registry))
    assert look / 10 + scrape / 5 < BAR / 10, "a look each ten seconds and a scrape each five"


def seconds(work: Any) -> float:
    """Processor time of one call: the least of several rounds."""
    rounds = []
    for _ in range(7):
        began = process_time()
        for _ in range(5):
            work()
        rounds.append((process_time() - began) / 5)
    return min(rounds)
