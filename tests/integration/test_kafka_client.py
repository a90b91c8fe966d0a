"""Topics and messages on a real broker: made once, published in order per key, and counted where they lie."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import TopicPartition

from infra.cli.doctor import _retention
from infra.errors import ServerUnavailable
from infra.kafka.producer import HEADERS, NotPublished, Outgoing, publish
from infra.kafka.topics import Extent, Topics, extents
from tests.conftest import Broker


@pytest.fixture
def topic(broker: Broker) -> str:
    """A new topic with three partitions."""
    name = f"kehu.test-{uuid4()}"
    admin = Topics(broker.bootstrap_servers)
    assert admin.create([name], partitions=3) == [name]
    assert admin.create([name], partitions=3) == []
    admin.close()
    return name


def messages(topic: str, number: int) -> list[Outgoing]:
    return [(topic, b"c%d" % (n % 20), b"%d" % n, HEADERS) for n in range(number)]


def test_an_empty_topic_holds_nothing_and_one_that_is_missing_is_left_out(broker: Broker, topic: str) -> None:
    held = asyncio.run(extents(broker.bootstrap_servers, [topic, "kehu.missing"]))
    assert held == {TopicPartition(topic, number): Extent(0, 0) for number in range(3)}


def test_everything_acknowledged_lies_in_the_topic(broker: Broker, topic: str) -> None:
    told: list[int] = []

    async def run() -> tuple[Counter[str], int]:
        counts = await publish(broker.bootstrap_servers, messages(topic, 250), told.append, at_once=100)
        held = await extents(broker.bootstrap_servers, [topic])
        return counts, sum(extent.messages for extent in held.values())

    assert asyncio.run(run()) == ({topic: 250}, 250)
    assert told == [100, 200, 250]


def test_an_unending_source_may_be_asynchronous(broker: Broker, topic: str) -> None:
    async def source() -> AsyncIterator[Outgoing]:
        for message in messages(topic, 5):
            yield message

    assert asyncio.run(publish(broker.bootstrap_servers, source())) == {topic: 5}


def test_a_message_that_is_refused_is_told_with_what_went_before(broker: Broker, topic: str) -> None:
    too_large: Outgoing = (topic, b"c1", b"x" * 5_000_000, HEADERS)
    with pytest.raises(NotPublished, match="acknowledged before: 3"):
        asyncio.run(publish(broker.bootstrap_servers, [*messages(topic, 3), too_large], at_once=3))


def test_a_broker_that_is_away_is_an_error_with_its_address() -> None:
    with pytest.raises(ServerUnavailable, match=r"Kafka at 127\.0\.0\.1:1: .*acknowledged before: 0"):
        asyncio.run(publish("127.0.0.1:1", []))
    with pytest.raises(ServerUnavailable, match=r"Kafka at 127\.0\.0\.1:1: "):
        asyncio.run(extents("127.0.0.1:1", ["kehu.surveys"]))


def test_the_doctor_finds_a_topic_that_keeps_messages_too_long(broker: Broker) -> None:
    """Who is forgotten stands in the topics of channels as long as those keep their messages."""
    admin = Topics(broker.bootstrap_servers)
    for name, kept in (("kept-a-day", "86400000"), ("kept-a-year", "31536000000"), ("kept-for-ever", "-1")):
        admin.create([name], partitions=1, settings={"retention.ms": kept})
    admin.close()
    assert _retention(broker.bootstrap_servers, ["kept-a-day"]).verdict == "ok"
    found = _retention(broker.bootstrap_servers, ["kept-a-day", "kept-a-year", "kept-for-ever"])
    assert (found.verdict, found.detail) == ("warning", "longer than 30 d: kept-a-year 365 d, kept-for-ever for ever")
