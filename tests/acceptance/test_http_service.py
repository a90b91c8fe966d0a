"""What operators do over HTTP: webhooks, dead letters and parked messages; each change is recorded with who and why."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from infra.kafka.topics import TOPICS, extents
from infra.webhooks.signing import key_of
from tests.support.cli import History
from tests.support.issuer import issuing
from tests.support.served import Served, served

CRM = {"name": "crm", "url": "https://crm.example/kehu", "view": "retention-risk", "segments": ["mass"]}


@pytest.fixture
def server(copied: History) -> Iterator[Served]:
    assert copied("setup").code == 0  # topics of its broker
    with issuing() as issuer, served(copied.postgres, copied.kafka, issuer) as running:
        yield running


def done(server: Served, method: str, path: str, body: Any = None, **claims: Any) -> httpx.Response:
    """What an operator does, with a reason."""
    said = {"scope": "service:write", "sub": "operator-7", **claims}
    headers = {**server.bearer(**said), "x-purpose": "ticket 12"}
    return server.client.request(method, f"/v1/{path}", json=body, headers=headers)


def rows(server: Served, path: str) -> list[dict[str, Any]]:
    answer = server.get(f"/v1/{path}", scope="service:read")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def recorded(history: History) -> list[tuple[str, str, Any]]:
    """What was changed, as auditors find it; why is always the same here."""
    with psycopg.connect(history.postgres, row_factory=dict_row) as conn:
        found = conn.execute("SELECT * FROM kehu.access_log WHERE subject = 'operator-7' ORDER BY id").fetchall()
    assert {(row["purpose"], row["status"]) for row in found} == {("ticket 12", 200)}
    return [
        (row["method"], row["path"].removeprefix("/v1/"), orjson.loads(row["query"]) if row["query"] else None)
        for row in found
    ]


def test_webhooks_are_managed_over_http_and_every_change_is_recorded_without_secrets(
    server: Served, copied: History
) -> None:
    added = done(server, "POST", "webhooks", CRM)
    assert (added.status_code, added.headers["location"]) == (201, "/v1/webhooks?name=crm")
    secret = added.json()["secret"]
    assert len(key_of(secret)) == 32
    (row,) = rows(server, "webhooks?view=retention-risk&name=crm")
    assert (row["url"], row["state"], row["segments"]) == (CRM["url"], "active", ["mass"])
    assert done(server, "POST", "webhooks", CRM).status_code == 409
    assert done(server, "PATCH", "webhooks/crm", {"url": "https://crm.example/v2"}).status_code == 204
    assert done(server, "POST", "webhooks/crm/pause", {"reason": "until nine"}).status_code == 204
    (row,) = rows(server, "webhooks?failing=true")
    assert (row["url"], row["state"], row["reason"]) == ("https://crm.example/v2", "paused", "until nine")
    assert done(server, "POST", "webhooks/crm/resume").status_code == 204
    assert done(server, "POST", "webhooks/crm/replay", {"after_position": 7}).status_code == 204
    assert done(server, "POST", "webhooks/crm/secret").json()["secret"] != secret
    with psycopg.connect(copied.postgres) as conn:
        query = "INSERT INTO kehu.webhook_letters (webhook, keys, error, attempts) VALUES ('crm', %s, '500', 20)"
        conn.execute(query, (["c-1", "c-2"],))
        conn.execute(query, (["c-3"],))
    assert [letter["keys"] for letter in rows(server, "webhook-letters?webhook=crm")] == [["c-3"], ["c-1", "c-2"]]
    page = server.get("/v1/webhook-letters?limit=1", scope="service:read").json()
    (older,) = rows(server, f"webhook-letters?limit=1&cursor={page['next']}")
    assert done(server, "POST", "webhooks/crm/retry", {"letter": older["id"]}).json() == {"letters": 1}
    assert [letter["again"] for letter in rows(server, "webhook-letters")] == [False, True]
    exported = server.get("/v1/webhooks?format=csv", scope="service:read").text
    assert "whsec_" not in exported + str(rows(server, "webhooks"))
    assert done(server, "DELETE", "webhooks/crm").status_code == 204
    assert done(server, "DELETE", "webhooks/crm").status_code == 404
    assert rows(server, "webhooks") == []
    assert recorded(copied) == [
        ("POST", "webhooks", {**CRM, "from_now": False}),
        ("PATCH", "webhooks/crm", {"url": "https://crm.example/v2"}),
        ("POST", "webhooks/crm/pause", {"reason": "until nine"}),
        ("POST", "webhooks/crm/resume", None),
        ("POST", "webhooks/crm/replay", {"after_position": 7}),
        ("POST", "webhooks/crm/secret", None),
        ("POST", "webhooks/crm/retry", {"letter": older["id"]}),
        ("DELETE", "webhooks/crm", None),
    ], "what was refused changed nothing"
    told = acts(server)
    assert [one["what"]["change"] for one in told] == [
        *("added", "changed", "paused", "resumed", "replayed", "secret renewed", "retried", "removed"),
    ]
    assert {(one["by"], one["area"]) for one in told} == {("operator-7", "webhooks")}
    assert told[2]["reason"] == "until nine"


def acts(server: Served) -> list[dict[str, Any]]:
    """What the log says of it."""
    told: list[dict[str, Any]] = server.get("/v1/acts", scope="audit:read").json()["rows"]
    return told


def test_what_cannot_be_a_webhook_is_refused_with_where(server: Served) -> None:
    for changed, at in (
        ({"name": "a b"}, "body.name"),
        ({"url": "ftp://crm.example"}, "body.url"),
        ({"url": "https://me@crm.example"}, "body.url"),
        ({"view": "all"}, "body.view"),
        ({"view": "satisfaction"}, "body.segments"),
        ({"secret": "abc"}, "body.secret"),
        ({"more": 1}, "body.more"),
    ):
        answer = done(server, "POST", "webhooks", CRM | changed)
        assert (answer.status_code, answer.json()["errors"][0]["at"]) == (422, at)
    assert rows(server, "webhooks") == []


def test_nobody_lets_rows_go_out_that_the_token_does_not_see(server: Served) -> None:
    assert done(server, "POST", "webhooks", CRM, branches=["north"]).status_code == 403
    assert done(server, "POST", "webhooks", CRM, segments=["retail"]).status_code == 403
    assert done(server, "POST", "webhooks", CRM, segments=["mass"]).status_code == 201
    for segments in ([], ["retail"]):
        assert done(server, "PATCH", "webhooks/crm", {"segments": segments}, segments=["mass"]).status_code == 403
    assert done(server, "PATCH", "webhooks/crm", {"url": "https://x.example"}, segments=["retail"]).status_code == 403


def test_a_reason_must_be_said_where_the_bank_wants_one(history: History) -> None:
    with issuing() as issuer, served(history.postgres, history.kafka, issuer, purpose_required=True) as server:
        answer = server.client.post("/v1/parked/retry", json={"streams": ["x"]}, headers=server.bearer(scope="admin"))
        assert (answer.status_code, answer.json()["type"]) == (428, "urn:kehu:problem:purpose-missing")


def published(history: History) -> int:
    """Messages in the topics of channels."""
    held = asyncio.run(extents(history.kafka, list(TOPICS.values())))
    return sum(extent.following for extent in held.values())


def test_dead_letters_are_sent_again_as_they_came_or_corrected(server: Served, copied: History) -> None:
    (unread,) = rows(server, "dead-letters?rule=wrong-content-type")
    (other,) = rows(server, "dead-letters?rule=same-id-other-content")
    again, corrected = f"dead-letters/{unread['id']}/replay", f"dead-letters/{other['id']}/repair"
    assert done(server, "POST", again).status_code == 202
    assert published(copied) == 1
    refused = done(server, "POST", corrected, {"set": {"data.channel": 5}})
    assert (refused.status_code, refused.json()["errors"][0]["at"]) == (422, "body")
    assert done(server, "POST", f"dead-letters/{unread['id']}/repair", {"remove": ["data.x"]}).status_code == 422
    tried = done(server, "POST", corrected, {"set": {"data.queue": "told"}, "dry_run": True})
    assert (tried.status_code, tried.json()["event"]["id"]) == (200, f"told-opened.repair-{other['id']}")
    assert published(copied) == 1
    answer = done(server, "POST", corrected, {"set": {"data.queue": "told"}})
    assert (answer.status_code, answer.json()["published_as"]) == (202, f"told-opened.repair-{other['id']}")
    assert published(copied) == 2
    kept = {letter["id"]: letter for letter in rows(server, "dead-letters?replayed=true")}
    assert (kept[unread["id"]]["repaired_as"], kept[other["id"]]["repaired_as"]) == (
        None,
        answer.json()["published_as"],
    )
    assert recorded(copied) == [
        ("POST", again, None),
        ("POST", corrected, {"set": ["data.queue"], "remove": [], "event": False}),
    ], "which paths were corrected, and not how: it may be personal"
    assert [(one["act"], one["what"]) for one in acts(server)] == [
        ("dead-letters-replayed.v1", {"letters": [unread["id"]], "user": "postgres"}),
        (
            "dead-letter-repaired.v1",
            {"letter": other["id"], "repaired_as": answer.json()["published_as"], "user": "postgres"},
        ),
    ]


def test_a_parked_message_is_tried_now_or_released_with_who_and_why(server: Served, copied: History) -> None:
    (waits, *_) = rows(server, "parked?topic=kehu.surveys")
    asked = {"streams": [waits["stream"], "no-stream"]}
    assert done(server, "POST", "parked/retry", asked).json() == {"streams": [waits["stream"]]}
    release = f"parked/{waits['seq']}/release"
    assert done(server, "POST", release, {"reason": "never invited"}).status_code == 204
    assert done(server, "POST", release, {"reason": "never invited"}).status_code == 404
    (letter,) = rows(server, "dead-letters?rule=released")
    assert letter["detail"].startswith("released by operator-7: never invited; it waited since ")
    assert "taken out of its queue by hand" in letter["remedy"]
    assert recorded(copied) == [("POST", "parked/retry", asked), ("POST", release, {"reason": "never invited"})]
    (told,) = acts(server)
    assert (told["act"], told["by"], told["reason"]) == ("parked-released.v1", "operator-7", "never invited")
