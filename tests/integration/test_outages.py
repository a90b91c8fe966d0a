"""Servers that go away and come back under a running worker: it waits, and goes on where it was."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from kafka import KafkaConsumer

from consumers.dead_letter_publisher import DeadLetterPublisher
from domain.ports import Batch, Unavailable
from domain.values import Position
from infra.embedded.broker import EmbeddedBroker, free_port
from infra.kafka import codec
from infra.kafka.topics import DEAD_LETTERS, TOPICS
from infra.postgres.dead_letters import DeadLetterOutbox
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.settings import Settings
from tests.support.apache_kafka import ApacheKafka
from tests.support.ingesting import Encoded, ingesting, make_anew, publish, survey
from tests.support.letters import dead_letters
from tests.support.own_postgres import own_postgres
from tests.support.processes import require

KNOWN = [*TOPICS.values(), DEAD_LETTERS]


def surveys(first: int, last: int) -> list[Encoded]:
    return [codec.structured(one) for number in range(first, last) for one in survey(number)]


def counts(database: str) -> tuple[int, ...]:
    """Read, appended, duplicate, parked, dead over all incarnations of the topics; events, and parked rows."""
    with psycopg.connect(database) as conn:
        row = conn.execute(
            "SELECT sum(next_offset)::int, sum(appended)::int, sum(duplicate)::int, sum(parked)::int, sum(dead)::int,"
            " (SELECT count(*)::int FROM kehu.stored_events), (SELECT count(*)::int FROM kehu.parked)"
            " FROM kehu.positions"
        ).fetchone()
    assert row is not None
    return tuple(row)


@pytest.fixture
def settings(database: str, topics: str) -> Settings:
    return Settings(postgres=database, kafka=topics, group=f"test-{uuid4()}")


def test_a_worker_that_starts_before_its_broker_waits_for_it(database: str, tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(postgres=database, kafka=f"127.0.0.1:{port}")

    async def run() -> None:
        with ExitStack() as later:
            async with ingesting(settings) as counted:
                later.enter_context(await asyncio.to_thread(EmbeddedBroker.start, tmp_path / "broker.log", port))
                await asyncio.to_thread(make_anew, settings.kafka, KNOWN)
                await publish(settings.kafka, surveys(0, 50))
                await counted.until(100)

    asyncio.run(run())
    assert counts(database) == (100, 100, 0, 0, 0, 150, 0)


@pytest.mark.kafka
def test_a_broker_that_restarts_is_waited_for(database: str, tmp_path: Path) -> None:
    with ApacheKafka.start(tmp_path) as broker:
        make_anew(broker.bootstrap_servers, KNOWN)
        settings = Settings(postgres=database, kafka=broker.bootstrap_servers)

        async def run() -> None:
            async with ingesting(settings) as counted:
                await publish(settings.kafka, surveys(0, 100))
                await counted.until(200)
                await asyncio.to_thread(broker.restart)
                await publish(settings.kafka, surveys(100, 150))
                await counted.until(300, 60)

        asyncio.run(run())
    assert counts(database) == (300, 300, 0, 0, 0, 450, 0)


def test_a_store_that_restarts_is_waited_for(topics: str) -> None:
    with own_postgres() as server:
        database = server.create_database("kehu")
        migrate(database)
        settings = Settings(postgres=database, kafka=topics, group=f"test-{uuid4()}")

        async def run() -> None:
            async with ingesting(settings) as counted:
                await publish(settings.kafka, surveys(0, 100))
                await counted.until(200)
                await asyncio.to_thread(server.stop, "immediate", forget=False)
                await publish(settings.kafka, surveys(100, 150))
                await asyncio.to_thread(server.restart, running=False)
                await counted.until(300)

        asyncio.run(run())
        assert counts(database) == (300, 300, 0, 0, 0, 450, 0)


class FailsEverySecondTime(PostgresLog):
    """A store whose answer is lost for every second batch, before anything is written."""

    batches = 0

    def append(self, batch: Batch) -> Position:
        self.batches += 1
        if self.batches % 2 == 0:
            raise Unavailable("lost")
        return super().append(batch)


def test_what_was_fetched_ahead_of_a_batch_that_failed_is_fetched_again(settings: Settings) -> None:
    async def run() -> None:
        await publish(settings.kafka, surveys(0, 60))
        async with ingesting(settings.model_copy(update={"max_records": 20}), FailsEverySecondTime) as counted:
            await counted.until(120)

    asyncio.run(run())
    assert counts(settings.postgres) == (120, 120, 0, 0, 0, 180, 0)


@pytest.mark.parametrize("codec_name", ["gzip", "snappy", "lz4", "zstd"])
def test_channels_compress_as_they_like(settings: Settings, codec_name: str) -> None:
    async def run() -> None:
        async with ingesting(settings) as counted:
            await publish(settings.kafka, surveys(0, 50), compression=codec_name)
            await counted.until(100)

    asyncio.run(run())
    assert counts(settings.postgres) == (100, 100, 0, 0, 0, 150, 0)


@pytest.mark.kafka
@pytest.mark.parametrize("broker", ["apache"], indirect=True)
def test_a_message_that_the_client_cannot_read_is_read_all_the_same(settings: Settings) -> None:
    """The client reads names of headers as UTF-8 before anybody else can look at them; kcat sends any bytes."""
    require("kcat")
    command = [b"kcat", b"-P", b"-b", settings.kafka.encode(), b"-t", b"kehu.surveys", b"-p", b"0", b"-H", b"x-\xff=1"]
    spoilt = b"{}\n"

    async def run() -> None:
        async with ingesting(settings) as counted:
            await publish(settings.kafka, surveys(0, 5), partition=0)
            await counted.until(10)
            await asyncio.to_thread(subprocess.run, command, input=spoilt, check=True, timeout=30, capture_output=True)
            await publish(settings.kafka, surveys(5, 10), partition=0)
            await publish(settings.kafka, surveys(10, 60), partition=1)
            await counted.until(121)

    asyncio.run(run())
    with psycopg.connect(settings.postgres) as conn:
        query = "SELECT partition, next_offset FROM kehu.positions WHERE topic = 'kehu.surveys' ORDER BY partition"
        assert conn.execute(query).fetchall() == [(0, 21), (1, 100)]
    (letter,) = dead_letters(settings.postgres)
    told = {"kafka_offset": 10, "rule": "bad-envelope", "value": b"{}", "headers": [(r"x-\xff", b"1")]}
    assert told.items() <= letter.items()


def test_a_topic_that_is_made_anew_is_read_from_its_beginning(settings: Settings) -> None:
    late, early = surveys(9000, 9001)[::-1]

    async def run() -> None:
        async with ingesting(settings) as counted:
            await publish(settings.kafka, [*surveys(0, 100), late])
            await counted.until(201)
            await asyncio.to_thread(make_anew, settings.kafka, ["kehu.surveys"])
            await publish(settings.kafka, [*surveys(50, 200), early])
            await counted.until(201 + 301)

    asyncio.run(run())
    # What waited for a message of the old topic came with the new one. Some messages may be read twice: once before the
    # worker knows of the new topic, and again from its beginning.
    read, appended, duplicate, parked, dead, events, waiting = counts(settings.postgres)
    assert (appended, parked, dead, events, waiting) == (402, 0, 0, 603, 0)
    assert (read, duplicate >= 100) == (appended + duplicate, True)


def test_dead_letters_reach_their_topic_once_with_what_refused_them(settings: Settings) -> None:
    bad: list[Encoded] = [(b"c%d" % n, b"{not json %d" % n, [("x-channel", b"app")]) for n in range(250)]

    async def run() -> None:
        async with ingesting(settings) as counted:
            await publish(settings.kafka, bad)
            await counted.until(250)
        async with DeadLetterPublisher(DeadLetterOutbox(settings.postgres), settings.kafka) as publisher:
            await asyncio.to_thread(all_published, settings.postgres)
            assert not publisher.crashed

    asyncio.run(run())
    found = {headers["kehu-dead-letter"]: (value, headers) for value, headers in lying_on(settings.kafka, DEAD_LETTERS)}
    assert len(found) == 250
    # What they say is on the topic as it is kept: encrypted, each under the key of its customer.
    assert not any(b"not json" in value for value, _ in found.values())
    assert {headers["kehu-hidden-for"] for _, headers in found.values()} == {key for key, _, _ in bad}
    for _, headers in found.values():
        assert headers["kehu-rule"] == b"bad-json"
        assert not headers["x-channel"]
    letters = dead_letters(settings.postgres)
    assert {letter["value"] for letter in letters} == {value for _, value, _ in bad}
    assert {tuple(letter["headers"]) for letter in letters} == {(("x-channel", b"app"),)}


def all_published(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for _ in range(400):
            row = conn.execute("SELECT count(*) FROM kehu.dead_letters WHERE NOT published").fetchone()
            if row == (0,):
                return
            conn.execute("SELECT pg_sleep(0.05)")
    raise TimeoutError("dead letters are not published")


def lying_on(servers: str, topic: str) -> Iterator[tuple[bytes, dict[str, bytes]]]:
    consumer = KafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest", consumer_timeout_ms=2000)
    try:
        for record in consumer:
            yield record.value, dict(record.headers)
    finally:
        consumer.close()
