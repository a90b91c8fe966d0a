"""Messages of ten megabytes: refused, kept whole, and told on the topic of dead letters without their bytes."""

import asyncio
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from consumers.dead_letter_publisher import LARGEST, DeadLetterPublisher, outgoing
from infra.kafka import codec
from infra.kafka.topics import DEAD_LETTERS
from infra.postgres.dead_letters import DeadLetterOutbox, Letter
from infra.settings import Settings
from tests.integration.test_outages import all_published, lying_on
from tests.support.ingesting import ingesting, publish, survey
from tests.support.letters import dead_letters

MEGABYTES = 10 * 1024 * 1024


# Apache Kafka takes one mebibyte, unless a topic is made to take more.
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_ten_megabytes_are_a_dead_letter_and_hold_nothing_up(database: str, topics: str) -> None:
    settings = Settings(postgres=database, kafka=topics, group=f"test-{uuid4()}")
    mark = f"large-{uuid4()}".encode()

    async def run() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=topics, enable_idempotence=False, max_request_size=2 * MEGABYTES
        ) as producer:
            await producer.send_and_wait("kehu.surveys", b"x" * MEGABYTES, key=b"c1", headers=[("mark", mark)])
            await producer.send_and_wait("kehu.surveys", b"{}", key=b"c1", headers=[("large", b"h" * 4_000_000)])
        await publish(topics, [codec.structured(one) for one in survey(1)])
        async with ingesting(settings) as counted:
            await counted.until(4)
        async with DeadLetterPublisher(DeadLetterOutbox(database), topics) as publisher:
            await asyncio.to_thread(all_published, database)
            assert not publisher.crashed

    asyncio.run(run())
    letters = sorted(dead_letters(database), key=lambda one: str(one["rule"]))
    rows = [(one["rule"], len(one["value"]), one["detail"]) for one in letters]
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT sum(appended)::int FROM kehu.positions").fetchone() == (2,)
    assert [row[:2] for row in rows] == [("headers-too-large", 2), ("too-large", MEGABYTES)]
    assert f"{MEGABYTES} bytes, at most 1048576 are accepted" in rows[1][2]
    assert letters[1]["headers"] == [("mark", mark)]
    (told,) = [one for one in lying_on(topics, DEAD_LETTERS) if one[1]["kehu-rule"] == b"too-large"]
    assert not told[0]
    # As it is kept: encrypted, with the values of the headers in it.
    assert MEGABYTES < int(told[1]["kehu-value-bytes"]) < MEGABYTES + 200


@pytest.mark.parametrize("part", LARGEST)
def test_a_part_that_no_broker_takes_is_left_out_and_its_size_told(part: str) -> None:
    large = b"x" * (LARGEST[part] + 1)
    whole: dict[str, object] = {"key": b"c1", "value": b"{}", "headers": (("a", b"b"),)}
    given = {**whole, part: (("a", large),) if part == "headers" else large}
    letter = Letter(1, "kehu.surveys", 0, 7, rule="too-large", detail="", **given)  # type: ignore[arg-type]
    topic, key, value, headers = outgoing(letter)
    size = len(large) + (part == "headers")
    assert dict(headers)[f"kehu-{part}-bytes"] == str(size).encode()
    assert topic == DEAD_LETTERS
    assert {"key": key, "value": value, "headers": dict(headers).get("a")} == {
        "key": b"c1",
        "value": b"{}",
        "headers": b"b",
        part: None,
    }
