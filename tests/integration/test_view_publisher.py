"""What lies on a view's topic is the view: after kills, switches, lost topics, and with several publishers."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from jsonschema import Draft202012Validator
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from consumers import view_publisher
from consumers.view_publisher import ViewPublisher
from infra import bootstrap
from infra.kafka.topics import Topics, extents
from infra.kafka.view_contracts import schema
from infra.kafka.views import VIEW_TOPICS
from infra.postgres.changes import Token, connection
from infra.postgres.view_marks import AnotherPublisher, Mark, Marks
from projections.retention_risk import RETENTION_RISK
from projections.service_queues import SERVICE_QUEUES
from projections.views import NAMED, VIEWS, View, moment
from tests.support.builders import NOON
from tests.support.ingesting import make_anew
from tests.support.processes import until
from tests.support.views import shown
from tests.support.world import QUEUES_BUILD, World, arrives, is_seen_to, leaves, troubles

Message = Any
QUEUES = NAMED["service-queues"]


async def messages(servers: str, view: View) -> list[Message]:
    """Everything that lies on the topic, of each partition in order."""
    ends = {tp: one.following for tp, one in (await extents(servers, [view.topic])).items() if one.messages}
    found: dict[TopicPartition, list[Message]] = {tp: [] for tp in ends}
    if not ends:
        return []
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        while any(not got or got[-1].offset + 1 < ends[tp] for tp, got in found.items()):
            for tp, some in (await consumer.getmany(timeout_ms=200)).items():
                found[tp] += some
    finally:
        await consumer.stop()
    return [message for got in found.values() for message in got]


def attributes(message: Message) -> Mapping[str, str]:
    return {name.removeprefix("ce_"): value.decode() for name, value in message.headers}


async def lies(servers: str, view: View) -> dict[str, tuple[int, Any]]:
    """Key -> position and row, after compaction; no message is older than the one before it about the same row."""
    rows: dict[str, tuple[int, Any]] = {}
    last: dict[str, Mapping[str, str]] = {}
    for message in await messages(servers, view):
        key, said = message.key.decode(), attributes(message)
        if before := last.get(key):
            assert said["sequence"] >= before["sequence"], (before, said)
            last[key] = said
        if message.value is None:
            rows.pop(key, None)
        else:
            rows[key] = int(said["position"]), json.loads(message.value)
    return rows


@asynccontextmanager
async def publisher(database: str, servers: str) -> AsyncIterator[ViewPublisher]:
    """A publisher whose turns the test takes; it is not started, so it does nothing by itself."""
    made = ViewPublisher(database, servers, lambda _seconds: None)
    try:
        yield made
    finally:
        await made.on_stop()


async def publish_all(made: ViewPublisher) -> None:
    while (await made.once())[1]:
        pass


def unclaimed(database: str) -> bool:
    with psycopg.connect(database) as conn:
        locks = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory'"
        return conn.execute(f"{locks} AND datname = current_database()".encode()).fetchone() == (0,)


async def assert_published(world: World, servers: str) -> None:
    for view in VIEWS:
        assert await lies(servers, view) == shown(world.database, view), view.name


def test_rows_and_tombstones_follow_the_read_models(world: World, topics: str) -> None:
    async def run() -> None:
        async with publisher(world.database, topics) as made:
            await publish_all(made)
            for number in range(30):
                world.happens(*arrives(number), customer=f"c{number % 9}")
            await publish_all(made)
            await assert_published(world, topics)
            for number in range(7):
                world.happens(*leaves(number), customer=f"c{number % 9}")
            await publish_all(made)
        await assert_published(world, topics)
        assert len(await lies(topics, QUEUES)) == 23
        assert await lies(topics, NAMED["satisfaction"])

    asyncio.run(run())


def test_a_message_is_a_cloud_event_that_its_schema_describes(world: World, topics: str) -> None:
    async def run() -> None:
        world.happens(*arrives(3), *arrives(2), *leaves(3))
        world.happens(*troubles(1), customer="c2")
        async with publisher(world.database, topics) as made:
            await publish_all(made)
            world.happens(*leaves(2))
            world.happens(*is_seen_to(1), customer="c2")
            await publish_all(made)
        for view in VIEWS:
            found = await messages(topics, view)
            assert found
            validator = Draft202012Validator(schema(view))
            for message in found:
                said = attributes(message)
                assert said["specversion"] == "1.0"
                assert said["id"] == f"{said['sequence']}/{message.key.decode()}"
                assert said["subject"] == message.key.decode()
                assert said["projectionversion"] == str(view.projection.version)
                assert said["type"].endswith("removed" if message.value is None else "changed")
                if message.value is not None:
                    assert [one.message for one in validator.iter_errors(json.loads(message.value))] == []
        for name, key in (
            ("service-queues", b"contact-k2"),
            ("deadline-alerts", b'["p1", "service"]'),
            ("retention-risk-alerts", b"c2"),
        ):
            found = await messages(topics, NAMED[name])
            assert [one.value is None for one in found if one.key == key] == [False, True]

    asyncio.run(run())


def test_what_was_acknowledged_and_not_marked_comes_again_and_is_known_by_its_sequence(
    world: World, topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def dies(_step: str) -> None:
        raise Killed

    async def run() -> None:
        world.happens(*arrives(1))
        async with publisher(world.database, topics) as made:
            await publish_all(made)
            world.happens(*arrives(2))
            with monkeypatch.context() as patched:
                patched.setattr(view_publisher, "reach", dies)
                with pytest.raises(Killed):
                    await publish_all(made)
        async with publisher(world.database, topics) as another:
            await publish_all(another)
        await assert_published(world, topics)
        ids = [attributes(one)["id"] for view in VIEWS for one in await messages(topics, view)]
        assert len(ids) > len(set(ids)), "something came twice"

    asyncio.run(run())


def test_topics_that_were_lost_are_filled_again(world: World, topics: str) -> None:
    async def run() -> None:
        for number in range(20):
            world.happens(*arrives(number))
        async with publisher(world.database, topics) as made:
            await publish_all(made)
        world.happens(*leaves(3))
        await asyncio.to_thread(make_anew, topics, VIEW_TOPICS)
        async with publisher(world.database, topics) as another:
            await publish_all(another)
        await assert_published(world, topics)
        assert len(await lies(topics, QUEUES)) == 19

    asyncio.run(run())


def test_a_running_publisher_finds_that_topics_were_lost(
    world: World, topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        world.happens(*arrives(1), *arrives(2))
        async with publisher(world.database, topics) as made:
            await publish_all(made)
            await asyncio.to_thread(make_anew, topics, VIEW_TOPICS)
            monkeypatch.setattr(view_publisher, "LOOK", 0.0)
            await publish_all(made)
        await assert_published(world, topics)

    asyncio.run(run())


def test_a_switch_publishes_what_differs_and_a_mark_that_was_lost_takes_back_what_is_gone(
    world: World, topics: str
) -> None:
    async def run() -> None:
        for number in range(20):
            world.happens(*arrives(number))
        async with publisher(world.database, topics) as made:
            await publish_all(made)
            before = len(await messages(topics, QUEUES))
            world.change(f"UPDATE {QUEUES_BUILD}.queue_items SET position = 0 WHERE item_id = 'contact-k1'")
            world.change(f"DELETE FROM {QUEUES_BUILD}.queue_items WHERE item_id = 'contact-k2'")
            world.happens(*leaves(3))
            world.switch(SERVICE_QUEUES)
            world.switch(RETENTION_RISK)
            await publish_all(made)
            assert len(await messages(topics, QUEUES)) == before + 3
            world.change("DELETE FROM kehu.view_marks")
        world.happens(*leaves(4))
        world.change(f"DELETE FROM {QUEUES_BUILD}_b2.queue_items_removed")
        async with publisher(world.database, topics) as another:
            await publish_all(another)
        found = await messages(topics, QUEUES)
        assert [one.value for one in found if one.key == b"contact-k4"][-1] is None
        rows = await lies(topics, QUEUES)
        assert rows == shown(world.database, QUEUES)

    asyncio.run(run())


def test_swept_rows_are_published_with_a_greater_sequence_and_the_same_position(world: World, topics: str) -> None:
    async def run() -> None:
        world.happens(*arrives(1))
        async with publisher(world.database, topics) as made:
            await publish_all(made)
            assert world.sweep(NOON + timedelta(days=200))
            await publish_all(made)
        first, second = await messages(topics, NAMED["retention-risk"])
        assert attributes(first)["position"] == attributes(second)["position"]
        assert attributes(first)["sequence"] < attributes(second)["sequence"]
        assert first.value != second.value

    asyncio.run(run())


def test_one_process_publishes_a_view_at_a_time_and_another_goes_on_when_it_ends(
    world: World, topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        world.happens(*arrives(1))
        monkeypatch.setattr(view_publisher, "LOOK", 0.0)
        async with publisher(world.database, topics) as second:
            async with publisher(world.database, topics) as first:
                await publish_all(first)
                await publish_all(second)
                assert len(await messages(topics, QUEUES)) == 1
                world.happens(*arrives(2))
                await publish_all(second)
                assert len(await messages(topics, QUEUES)) == 1, "the second has no view"
            until(lambda: unclaimed(world.database))  # a connection that was closed may hold its views for a moment
            await publish_all(second)
        await assert_published(world, topics)

    asyncio.run(run())


def test_a_frozen_publisher_loses_its_views(world: World) -> None:
    with closing(Marks(connection(world.database), silent=0.2)) as frozen:
        assert frozen.claim("satisfaction")
        with closing(Marks(connection(world.database), silent=0.2)) as other:
            while not other.claim("satisfaction"):
                pass
            with closing(Marks(connection(world.database), silent=60)) as third:
                assert not third.claim("satisfaction")


def test_a_mark_is_replaced_by_who_knows_it(database: str) -> None:
    at = moment(1_700_000_000_000_000)
    with closing(Marks(connection(database))) as marks:
        before = marks.read("satisfaction")
        first = Mark("topic", 1, Token(1, at))
        marks.save("satisfaction", before, first)
        assert marks.read("satisfaction") == first
        marks.save("satisfaction", first, Mark("topic", 2, None))
        with pytest.raises(AnotherPublisher):
            marks.save("satisfaction", first, Mark("topic", 1, Token(1, at)))


def test_setup_makes_compacted_topics(database: str, topics: str, request: pytest.FixtureRequest) -> None:
    client = KafkaAdminClient(bootstrap_servers=topics)
    client.delete_topics(list(VIEW_TOPICS))
    client.close()
    with closing(Topics(topics)) as admin:
        while any(admin.ids(VIEW_TOPICS).values()):
            pass
    assert set(bootstrap.setup(database, topics)[1]) == set(VIEW_TOPICS)
    if "apache" in request.node.callspec.id:
        client = KafkaAdminClient(bootstrap_servers=topics)
        told = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, VIEW_TOPICS[0])])
        client.close()
        assert "compact" in str(told)


def test_a_view_of_another_version_is_not_published_until_it_is_live(
    world: World, topics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        world.happens(*arrives(1))
        newer = dataclasses.replace(QUEUES, projection=dataclasses.replace(SERVICE_QUEUES, version=99))
        monkeypatch.setattr(view_publisher, "VIEWS", [newer if view is QUEUES else view for view in VIEWS])
        async with publisher(world.database, topics) as made:
            await publish_all(made)
            assert await messages(topics, QUEUES) == []
            assert await messages(topics, NAMED["retention-risk"])
        monkeypatch.undo()
        async with publisher(world.database, topics) as switched:
            await publish_all(switched)
        await assert_published(world, topics)

    asyncio.run(run())
