"""A server that is away: one line says so and one that it is back, however many services wait for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from consumers.patience import Patience, Server, Servers
from domain.ports import Fenced, Unavailable
from infra.anchors import AnchorNotWritten, FileAnchor
from infra.errors import ServerUnavailable

AWAY = Unavailable("no answer")


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """What is logged."""
    with capture_logs() as logged:
        yield logged


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


def patience(servers: Servers) -> Patience:
    return Patience(structlog.get_logger("test"), servers)


def test_three_services_that_wait_for_the_store_say_it_once(lines: list[Any]) -> None:
    servers = Servers.of("broker:9092")
    services = [patience(servers) for _ in range(3)]
    for _ in range(20):
        for one in services:
            one.failed("work", AWAY)
    assert servers.store.away is not None
    for one in services:
        assert events(lines) == ["waiting for PostgreSQL"]
        one.succeeded(servers.store)
    assert events(lines) == ["waiting for PostgreSQL", "going on with PostgreSQL"]
    assert servers.store.away is None


def test_a_service_that_finds_the_store_does_not_speak_for_the_others(lines: list[Any]) -> None:
    servers = Servers.of("broker:9092")
    waiting, other = patience(servers), patience(servers)
    waiting.failed("work", AWAY)
    other.succeeded(servers.store)
    assert servers.store.away is not None
    assert events(lines) == ["waiting for PostgreSQL"]


def test_a_file_that_heads_cannot_be_added_to_is_no_fault_of_a_server(lines: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "heads.jsonl"
    with pytest.raises(AnchorNotWritten) as error:
        FileAnchor(path).tell([])
    patience(Servers.of("broker:9092")).failed("work", error.value)
    assert events(lines) == ["waiting: work"]
    assert f"{path}: No such file or directory" in lines[0]["error"]
    assert "KEHU_ANCHOR_FILE" in lines[0]["error"]


def test_store_and_broker_are_told_apart(lines: list[Any]) -> None:
    servers = Servers.of("broker:9092")
    one = patience(servers)
    one.failed("work", ServerUnavailable("refused"))
    one.failed("work", AWAY)
    assert events(lines) == ["waiting for Kafka at broker:9092", "waiting for PostgreSQL"]
    assert "refused" in lines[0]["error"]
    one.succeeded(servers.store)
    assert servers.store.away is None
    assert servers.broker.away is not None, "it is not needed any more, but nobody has heard of it"
    servers.broker.answered(one)
    assert servers.broker.away is None


def test_what_is_no_servers_fault_is_said_by_the_service_once(lines: list[Any]) -> None:
    servers = Servers.of("broker:9092")
    one = patience(servers)
    one.failed("asking for the positions", Fenced("moved"))
    one.failed("asking for the positions", Fenced("moved"))
    one.succeeded(servers.store)
    assert events(lines) == ["waiting: asking for the positions", "going on"]


def test_a_server_that_never_answered_is_away_and_nobody_complains_before_somebody_asked(lines: list[Any]) -> None:
    server = Server("PostgreSQL", silent=0)
    server.look()
    assert server.away is not None
    assert lines == []


def test_a_server_that_falls_silent_is_away_although_nothing_failed(lines: list[Any]) -> None:
    server, service = Server("PostgreSQL", silent=0), object()
    server.answered(service)
    assert server.away is None
    server.look()
    server.look()
    assert server.away is not None
    server.answered(service)
    assert server.away is None
    assert events(lines) == ["waiting for PostgreSQL", "going on with PostgreSQL"]


def test_a_server_that_answers_is_not_silent(lines: list[Any]) -> None:
    server = Server("PostgreSQL", silent=60)
    server.answered(object())
    server.look()
    assert (server.away, lines) == (None, [])
