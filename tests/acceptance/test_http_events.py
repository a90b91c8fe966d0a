"""Publishing over HTTP: what is answered with 202 lies in Kafka, and what would be a dead letter is refused."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.topics import TOPICS, extents
from tests.support.cli import History, free_port, store
from tests.support.issuer import Issuer, issuing
from tests.support.served import Served, served

SOURCE = "/channels/web"
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture(scope="module")
def bank(
    history: History, postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[History]:
    """A copy of the database with a broker of its own."""
    with psycopg.connect(postgres_server.url(), autocommit=True) as conn:
        conn.execute("CREATE DATABASE history_events TEMPLATE history")
    with EmbeddedBroker.start(tmp_path_factory.mktemp("events") / "broker.log") as broker:
        copy = replace(history, postgres=postgres_server.url("history_events"), kafka=broker.bootstrap_servers)
        assert copy("setup").code == 0
        yield copy


@pytest.fixture(scope="module")
def server(bank: History, issuer: Issuer) -> Iterator[Served]:
    with served(bank.postgres, bank.kafka, issuer, body_bytes=20_000, batch_events=20) as running:
        yield running


def event(number: int, **changed: Any) -> dict[str, Any]:
    """A contact that waits."""
    return {
        "specversion": "1.0",
        "id": f"web-{number}",
        "source": SOURCE,
        "type": "kehu.contact.queued.v1",
        "subject": "c-web",
        "time": "2025-03-03T09:00:00Z",
        "data": {"contact_id": f"web-{number}", "channel": "chat", "queue": "chat"},
        **changed,
    }


def published(kafka: str) -> int:
    return sum(extent.following for extent in asyncio.run(extents(kafka, list(TOPICS.values()))).values())


def send(server: Served, body: Any, media: str = STRUCTURED) -> httpx.Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return server.post("/v1/events", content, media, scope="events:write", source=SOURCE)


def receipts(server: Served, *numbers: int) -> list[tuple[str, int | None]]:
    """What became of these events."""
    asked = orjson.dumps({"events": [{"source": SOURCE, "id": f"web-{number}"} for number in numbers]})
    answer = server.post("/v1/receipts", asked, "application/json", scope="events:write", source=SOURCE)
    assert answer.status_code == 200, answer.text
    return [(row["outcome"], row["position"]) for row in answer.json()["rows"]]


def test_a_channel_publishes_and_learns_what_became_of_it(server: Served, bank: History) -> None:
    head = server.get("/v1/queues").json()["freshness"]["service_queues"]["position"]
    assert receipts(server, 1) == [("unknown", None)]
    answer = send(server, event(1))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert published(bank.kafka) == 1
    answered = event(2, type="kehu.contact.started.v1", data={"contact_id": "web-1", "agent_id": "a-1"})
    early = event(3, type="kehu.contact.started.v1", data={"contact_id": "web-9", "agent_id": "a-1"})
    assert send(server, [event(1), answered, early], BATCH).json()["accepted"] == 3
    store(bank.postgres, bank.kafka)
    assert receipts(server, 1, 2, 3, 4) == [
        ("appended", head + 1),
        ("appended", head + 2),
        ("parked", None),
        ("unknown", None),
    ]
    shown = server.get(f"/v1/queues?queue=chat&kind=contact&min_position={head + 2}").json()
    assert shown["freshness"]["service_queues"]["position"] == head + 2
    link = answer.json()["events"][0]["receipt"]
    assert server.get(link, scope="events:write", source=SOURCE).json()["rows"][0]["outcome"] == "appended"


def test_what_the_official_sdk_makes_is_accepted_in_both_modes(server: Served, bank: History) -> None:
    for number, encode in ((101, to_structured_event), (102, to_binary_event)):
        said = event(number, datacontenttype="application/json", time=datetime(2025, 3, 3, 9, tzinfo=UTC))
        data = said.pop("data")
        message = encode(CloudEvent(said, data))
        headers = {**message.headers, **server.bearer(scope="events:write", source=SOURCE)}
        answer = server.client.post("/v1/events", content=message.body, headers=headers)
        assert answer.status_code == 202, answer.text
    store(bank.postgres, bank.kafka)
    assert [outcome for outcome, _ in receipts(server, 101, 102)] == ["appended", "appended"]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"type": "kehu.contact.lost.v1"}, "unknown-type"),
        ({"type": "kehu.contact.queued.v9"}, "unknown-version"),
        ({"time": "yesterday"}, "bad-time"),
        ({"time": "2200-01-01T00:00:00Z"}, "time-out-of-range"),
        ({"data": {"contact_id": "web-1"}}, "bad-data"),
        ({"data": None}, "bad-data"),
        ({"subject": "two words"}, "bad-envelope"),
        ({"subject": 7}, "bad-envelope"),
        ({"specversion": "0.3"}, "bad-envelope"),
    ],
)
def test_what_would_be_a_dead_letter_is_refused_with_the_rule_and_the_remedy(
    server: Served, bank: History, changed: dict[str, Any], rule: str
) -> None:
    before = published(bank.kafka)
    for body, media, number in (
        (event(1, **changed), STRUCTURED, 0),
        ([event(2), event(1, **changed)], BATCH, 1),
    ):
        answer = send(server, body, media)
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"] == "urn:kehu:problem:refused"
        (wrong,) = answer.json()["errors"]
        assert (wrong["event"], wrong["rule"]) == (number, rule)
        assert wrong["remedy"].startswith("The message itself is wrong")
    assert published(bank.kafka) == before


@pytest.mark.parametrize(
    ("body", "media", "status", "kind"),
    [
        (b"{", STRUCTURED, 422, "refused"),
        (b"\xff\xfe", STRUCTURED, 422, "refused"),
        (b"{}", BATCH, 422, "invalid"),
        (b"[]", BATCH, 422, "invalid"),
        (b"[1, [2]]", BATCH, 422, "refused"),
        (orjson.dumps([event(n) for n in range(21)]), BATCH, 422, "invalid"),
        (b"{}", "application/json", 415, "unknown-media-type"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unknown-media-type"),
        (b" " * 20_001, STRUCTURED, 413, "too-large"),
    ],
)
def test_what_is_no_event_is_a_problem(
    server: Served, bank: History, body: bytes, media: str, status: int, kind: str
) -> None:
    before = published(bank.kafka)
    answer = send(server, body, media)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:kehu:problem:{kind}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert published(bank.kafka) == before


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off_as_well(server: Served) -> None:
    def much() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 1000

    headers = {**server.bearer(scope="events:write", source=SOURCE), "content-type": STRUCTURED}
    for path in ("/v1/events", "/v1/receipts"):
        answer = server.client.post(path, content=much(), headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:kehu:problem:too-large")


def test_without_kafka_nothing_is_accepted_and_it_is_found_again(
    copied: History, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    port = free_port()
    with served(copied.postgres, f"127.0.0.1:{port}", issuer, publish_seconds=1) as server:
        started = time.monotonic()
        answer = send(server, event(1))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:kehu:problem:away")
        assert time.monotonic() - started < 5
        with EmbeddedBroker.start(tmp_path_factory.mktemp("late") / "broker.log", port) as broker:
            copied("setup", "--kafka", broker.bootstrap_servers)
            assert send(server, event(1)).status_code == 202
            assert published(broker.bootstrap_servers) == 1
        assert send(server, event(2)).status_code == 503
