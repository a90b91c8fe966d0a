"""A webhook ends with exactly the rows of its view: over failures, restarts, switches, segments and two processes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from consumers import webhook_delivery
from consumers.patience import Servers
from consumers.webhook_delivery import WebhookDelivery
from domain.customer import CustomerProfileChanged, CustomerRegistered
from infra import bootstrap
from infra.kafka.view_contracts import VIEW_SCHEMAS
from infra.postgres import data_keys, webhooks
from infra.postgres.changes import connection
from infra.webhooks.addresses import networks
from infra.webhooks.sending import Sender
from infra.webhooks.signing import new_secret
from projections.service_queues import SERVICE_QUEUES
from projections.views import NAMED, VIEWS, View
from tests.support.project import ROOT
from tests.support.receiver import Receiver, receiving
from tests.support.views import shown
from tests.support.world import World, arrives, is_seen_to, leaves, troubles

QUEUES = NAMED["service-queues"]
LOOPBACK = networks("127.0.0.0/8")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_delivery, "COALESCE", 0.01)
    monkeypatch.setattr(webhook_delivery, "LOOK", 0.0)
    monkeypatch.setattr(webhook_delivery, "backoff", lambda _attempts: 0.01)


@asynccontextmanager
async def delivering(world: World, tries: int = 20, own: Any = LOOPBACK) -> AsyncIterator[WebhookDelivery]:
    made = WebhookDelivery(
        world.database, Sender(own), lambda _seconds: None, bootstrap.now, Servers.of("-"), tries=tries
    )
    async with made:
        yield made


def add(world: World, receiver: Receiver, view: str = QUEUES.name, segments: list[str] | None = None) -> None:
    with psycopg.connect(world.database) as conn:
        webhooks.add(conn, "crm", receiver.url, view, segments, receiver.secret, None)


def by_hand(world: World, call: Callable[..., Any], *given: Any) -> Any:
    with psycopg.connect(world.database) as conn:
        return call(conn, *given)


def listed(world: World) -> dict[str, Any]:
    (row,) = by_hand(world, webhooks.listed)
    return dict(row)


def file_of(view: View) -> Path:
    """Where the reference has the schema of its rows."""
    return ROOT / VIEW_SCHEMAS / f"{view.topic}.json"


async def until(met: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not met():
            await asyncio.sleep(0.01)


async def has_the_rows(world: World, receiver: Receiver) -> None:
    wanted = shown(world.database, QUEUES)
    await until(lambda: receiver.rows == wanted)


def test_rows_follow_the_view_over_failures_restarts_switches_and_with_two_processes(world: World) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            add(world, receiver)
            for number in range(20):
                world.happens(*arrives(number))
            failing = chain([500, 503, 204, 429, 204, 301, 204], repeat(204))
            receiver.answer = lambda: next(failing)
            async with delivering(world), delivering(world):
                await has_the_rows(world, receiver)
                for number in range(10):
                    world.happens(*leaves(number))
                await has_the_rows(world, receiver)
                world.switch(SERVICE_QUEUES)
                world.happens(*arrives(20))
                await has_the_rows(world, receiver)
                world.roll_back(SERVICE_QUEUES)
                world.happens(*leaves(20))
                await has_the_rows(world, receiver)
            for number in range(10, 15):
                world.happens(*leaves(number))
            async with delivering(world):
                await has_the_rows(world, receiver)
            assert [one["type"] for one in receiver.told].count("kehu.views.service-queues.restarted") == 1
            assert listed(world)["state"] == "active"
            assert listed(world)["delivered"] >= len(receiver.sequences)

    asyncio.run(run())


def test_what_it_never_takes_becomes_a_dead_letter_and_is_sent_again_as_it_is_then(world: World) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            add(world, receiver)
            world.happens(*arrives(1))
            receiver.answer, receiver.says = (lambda: 500), "Zaphod is unknown"
            async with delivering(world, tries=3):
                with capture_logs() as log:
                    await until(lambda: listed(world)["dead_letters"])
                # What it answers may name somebody: it is in the store, where it can be erased, and in no log.
                assert {one["event"].partition(" of ")[0] for one in log} == {
                    "a webhook does not take what it is told",
                    "rows became a dead letter",
                }
                assert "Zaphod" not in str(log)
                (letter,) = by_hand(world, webhooks.letters, "crm", 0)
                assert letter["keys"] == ["contact-k1"]
                assert letter["attempts"] == 3
                assert letter["error"] == "500: Zaphod is unknown"
                assert len(set(receiver.ids)) == 1, "a message that is sent again has its id"
                receiver.answer = lambda: 204
                world.happens(*leaves(1))
                world.happens(*arrives(2))
                await has_the_rows(world, receiver)
                assert by_hand(world, webhooks.retry, "crm") == 1
                await until(lambda: not by_hand(world, webhooks.letters, "crm", 0))
                assert receiver.told[-1]["subject"] == "contact-k1"
                assert receiver.told[-1]["type"].endswith(".removed")

    asyncio.run(run())


def test_a_removal_that_was_given_up_is_told_when_it_is_sent_again(world: World) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            add(world, receiver, "customers", ["private"])
            world.happens(CustomerRegistered(kind="person", segment="private"), customer="c1")
            async with delivering(world, tries=2):
                await until(lambda: set(receiver.rows) == {"c1"})
                receiver.answer = lambda: 500
                world.happens(CustomerProfileChanged(segment="retail"), customer="c1")
                await until(lambda: listed(world)["dead_letters"])
                receiver.answer = lambda: 204
                assert by_hand(world, webhooks.retry, "crm") == 1
                await until(lambda: not receiver.rows)
                await until(lambda: not listed(world)["dead_letters"])

    asyncio.run(run())


@pytest.mark.parametrize("url", ["https://crm..example/", "https://" + "a" * 300 + ".example/"])
def test_one_with_a_name_that_cannot_be_looked_up_holds_up_no_other(world: World, url: str) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            add(world, receiver)
            by_hand(world, webhooks.add, "another", url, QUEUES.name, None, new_secret(), None)
            world.happens(*arrives(1))
            async with delivering(world):
                await has_the_rows(world, receiver)
                await until(lambda: by_hand(world, webhooks.listed, None, True))
            (failing,) = by_hand(world, webhooks.listed, None, True)
            assert (failing["name"], failing["state"]) == ("another", "failing")

    asyncio.run(run())


def test_one_that_is_gone_is_paused_and_resumed_by_hand(world: World) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            add(world, receiver)
            world.happens(*arrives(1))
            receiver.answer = lambda: 410
            async with delivering(world):
                await until(lambda: listed(world)["state"] == "paused")
                assert listed(world)["reason"] == "it answered 410: gone"
                receiver.answer = lambda: 204
                by_hand(world, webhooks.resume, "crm")
                await has_the_rows(world, receiver)

    asyncio.run(run())


def test_by_segment_a_row_that_leaves_it_is_removed_and_of_others_nothing_is_told(world: World) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            add(world, receiver, "customers", ["private"])
            for customer, segment in (("c1", "private"), ("c2", "retail"), ("c3", "retail")):
                world.happens(CustomerRegistered(kind="person", segment=segment), customer=customer)
            async with delivering(world):
                await until(lambda: set(receiver.rows) == {"c1"})
                world.happens(CustomerProfileChanged(segment="private"), customer="c2")
                world.happens(CustomerProfileChanged(segment="retail"), customer="c1")
                await until(lambda: set(receiver.rows) == {"c2"})
            assert {one["subject"] for one in receiver.told if "subject" in one} == {"c1", "c2"}
            assert [one["type"].rpartition(".")[2] for one in receiver.told if one.get("subject") == "c1"] == [
                "changed",
                "removed",
            ]

    asyncio.run(run())


def test_a_replay_tells_rows_again_also_only_those_after_a_position(world: World) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            add(world, receiver)
            for number in range(5):
                world.happens(*arrives(number))
            async with delivering(world):
                await has_the_rows(world, receiver)
                before = len(receiver.told)
                middle = sorted(position for position, _ in receiver.rows.values())[2]
                by_hand(world, webhooks.replay, "crm", middle)
                await until(lambda: len(receiver.told) == before + 2)
                by_hand(world, webhooks.replay, "crm", 0)
                await until(lambda: receiver.told[-1]["type"].endswith(".complete") and len(receiver.told) > before + 2)
                assert len(receiver.told) == before + 2 + 1 + 5 + 1

    asyncio.run(run())


def test_what_is_delivered_is_as_the_reference_has_it(world: World) -> None:
    attributes = {"specversion", "id", "source", "type", "time", "projectionversion", "sequence"}
    schemas = {view.topic: Draft202012Validator(json.loads(file_of(view).read_text())) for view in VIEWS}

    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            for view in VIEWS:
                by_hand(world, webhooks.add, view.name, receiver.url, view.name, None, receiver.secret, None)
            world.happens(CustomerRegistered(kind="person", segment="private"), *troubles(1), *arrives(3))
            changed = "{}.changed".format
            async with delivering(world):
                await until(lambda: {changed(view.topic) for view in VIEWS} <= {one["type"] for one in receiver.told})
                world.happens(*is_seen_to(1))
                await until(lambda: any(one["type"].endswith(".removed") for one in receiver.told))
            for event in receiver.told:
                topic, _, happened = event["type"].rpartition(".")
                row = {"subject", "position"} if happened in ("changed", "removed") else set()
                data = {"data", "datacontenttype"} if happened == "changed" else set()
                assert event.keys() == attributes | row | data
                if data:
                    schemas[topic].validate(event["data"])

    asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_an_address_that_is_not_allowed_is_never_reached(world: World, host: str) -> None:
    async def run() -> None:
        async with receiving(new_secret()) as receiver:
            receiver.url = receiver.url.replace("127.0.0.1", host)
            add(world, receiver)
            world.happens(*arrives(1))
            async with delivering(world, own=()):
                await until(lambda: listed(world)["attempts"] > 1)
            assert "no address where webhooks may go" in listed(world)["error"]
            assert receiver.ids == []

    asyncio.run(run())


def test_a_secret_is_not_in_the_store_and_opens_for_its_webhook_only(world: World) -> None:
    first, second, old = (new_secret() for _ in range(3))
    with psycopg.connect(world.database) as conn, closing(connection(world.database)) as shared:
        for name in ("crm", "mail"):
            webhooks.add(conn, name, "https://crm.example/", QUEUES.name, None, first, None)
        webhooks.renew_secret(conn, "crm", second)
        conn.execute("UPDATE kehu.webhooks SET secret = %s WHERE name = 'mail'", (old,))  # by a former release
        conn.commit()
        told = webhooks.Webhooks(shared, data_keys.of(world.database))
        assert [one.secrets for one in told.active()] == [[second, first], [old]]
        assert webhooks.hide(conn) == 1
        conn.commit()
        kept = str(conn.execute("SELECT * FROM kehu.webhooks").fetchall())
        assert not any(one in kept for one in (first, second, old))
        assert [one.secrets for one in told.active()] == [[second, first], [old]]
        conn.execute("UPDATE kehu.webhooks SET secret = (SELECT secret FROM kehu.webhooks WHERE name = 'mail')")
        conn.commit()
        assert [one.name for one in told.active()] == ["mail"]
        paused = {row["name"]: row["reason"] for row in webhooks.listed(conn)}
    assert "its secret does not open" in paused["crm"]
