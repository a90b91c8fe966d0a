"""Changes over HTTP, as a client with EventSource or with polling uses them."""

from collections.abc import Iterator
from threading import Thread

import httpx
import psycopg
import pytest

from infra.http import hub
from projections.service_queues import SERVICE_QUEUES
from projections.views import NAMED
from tests.support.issuer import Issuer, issuing
from tests.support.processes import until
from tests.support.served import Served, served
from tests.support.sse import EventSource
from tests.support.views import shown
from tests.support.world import World, arrives, leaves

QUEUES = NAMED["service-queues"]
PATH = "/v1/changes?view=service-queues"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "COALESCE", 0.01)


@pytest.fixture
def server(world: World, issuer: Issuer) -> Iterator[Served]:
    with served(world.database, "127.0.0.1:9", issuer, followers=2) as running:
        yield running


def moved(world: World) -> None:
    """What the writer of the log says when it has appended."""
    with psycopg.connect(world.database, autocommit=True) as conn:
        conn.execute("NOTIFY kehu_log")


def polled(server: Served, reader: EventSource) -> list[str]:
    """What is new, as somebody asks who does not stay; the kinds of events."""
    before = len(reader.told)
    headers = {"last-event-id": reader.last_id} if reader.last_id else {}
    answer = server.get(f"{PATH}&follow=false", headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    reader.connected()
    reader.take(answer.content)
    return [kind for kind, _ in reader.told[before:]]


def test_who_stays_hears_of_changes_and_goes_on_after_a_switch_with_the_last_id(server: Served, world: World) -> None:
    reader = EventSource()
    for number in range(5):
        world.happens(*arrives(number))
    with server.client.stream("GET", PATH, headers=server.bearer()) as answer:
        parts = answer.iter_raw()
        while reader.rows != shown(world.database, QUEUES):
            reader.take(next(parts))
        world.happens(*leaves(0))
        moved(world)
        while "contact-k0" in reader.rows:
            reader.take(next(parts))
    world.switch(SERVICE_QUEUES)
    world.happens(*arrives(9))
    wanted = shown(world.database, QUEUES)
    reader.connected()
    reader.told.clear()
    with server.client.stream("GET", PATH, headers={**server.bearer(), "last-event-id": str(reader.last_id)}) as answer:
        parts = answer.iter_raw()
        while reader.rows != wanted:
            reader.take(next(parts))
    assert "restarted" not in [kind for kind, _ in reader.told], "what differs between the builds, not everything"


def test_who_asks_now_and_then_is_told_what_is_new_each_time(server: Served, world: World) -> None:
    reader = EventSource()
    world.happens(*arrives(1))
    assert polled(server, reader) == ["restarted", "changed", "complete"]
    assert polled(server, reader) == []
    world.happens(*arrives(2))
    world.happens(*leaves(1))
    assert sorted(polled(server, reader)) == ["changed", "removed"]
    assert reader.rows == shown(world.database, QUEUES)


def test_from_now_on_nothing_that_was_there_is_told(server: Served, world: World) -> None:
    world.happens(*arrives(1))
    reader = EventSource()
    reader.take(server.get(f"{PATH}&follow=false&after=now").content)
    assert reader.told == []
    world.happens(*arrives(2))
    assert polled(server, reader) == ["changed"]


@pytest.mark.parametrize("after", ["x", "1", "1.2.zz", "walking"])
def test_what_is_no_token_is_a_problem_that_names_the_parameter(server: Served, after: str) -> None:
    path = PATH
    if after == "walking":
        path = "/v1/changes?view=satisfaction"
        reader = EventSource()
        reader.take(server.get(f"{path}&follow=false").content)
        # It can be read as a token, and its key is that of no row.
        after = f"{reader.last_id}." + b'[null,false,"x"]'.hex()
    for answer in (
        server.get(f"{path}&after={after}&follow=false"),
        server.get(f"{path}&follow=false", {"last-event-id": after}),
    ):
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["at"] == "query.after"
    assert server.get("/v1/changes?view=all").status_code == 422
    assert server.get("/v1/changes").status_code == 422


def test_there_is_an_end_to_how_many_may_follow_and_a_place_is_free_again(server: Served) -> None:
    streams = []

    def stream() -> httpx.Response:
        answer = server.client.send(server.client.build_request("GET", PATH, headers=server.bearer()), stream=True)
        if answer.status_code == 200:
            streams.append(answer.iter_raw())
            next(streams[-1])
        return answer

    first, second, refused = stream(), stream(), stream()
    assert (refused.status_code, refused.headers.get("retry-after")) == (429, "5")
    for answer in (first, second, refused):
        answer.close()
    until(lambda: server.parts.hub.followers == 0)
    again = stream()
    assert again.status_code == 200
    again.close()


def test_that_somebody_follows_views_about_persons_is_recorded(server: Served, world: World) -> None:
    server.get("/v1/changes?view=customers&follow=false", {"x-purpose": "campaign"}, sub="crm")
    server.get("/v1/changes?view=satisfaction&follow=false", sub="crm")
    with psycopg.connect(world.database) as conn:
        found = conn.execute("SELECT subject, path, purpose, status FROM kehu.access_log").fetchall()
    assert found == [("crm", "/v1/changes", "campaign", 200)]


def test_a_server_that_ends_sends_its_followers_away_at_once(world: World, issuer: Issuer) -> None:
    with (
        served(world.database, "127.0.0.1:9", issuer) as server,
        server.client.stream("GET", PATH, headers=server.bearer()) as answer,
    ):
        parts = answer.iter_raw()
        next(parts)
        ended = Thread(target=server.stop)
        ended.start()
        assert [part for part in parts if b"event: cut" in part] == []
        ended.join(5)
        assert not ended.is_alive()
