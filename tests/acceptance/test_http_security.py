"""Who may do what over HTTP: every endpoint, as every role, with every kind of wrong token. The table is generated."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import orjson
import pytest

from infra.http.app import routed
from infra.http.openapi import OPERATIONS, endpoints
from infra.http.scopes import SCOPES
from infra.http.settings import HttpSettings, OpenToAll, check_listens_safely
from tests.support.cli import History
from tests.support.issuer import Issuer, issuing, new_key
from tests.support.served import Served, served

EVENT = orjson.dumps(
    {
        "specversion": "1.0",
        "id": "table-1",
        "source": "/channels/table",
        "type": "kehu.contact.queued.v1",
        "subject": "table-1",
        "time": "2025-03-03T09:00:00Z",
        "data": {"contact_id": "table-1", "channel": "phone", "queue": "cards"},
    }
)
ENDPOINTS = [(method, path, needs) for path, method, needs in endpoints(routed())]
GUARDED = [one for one in ENDPOINTS if one[2]]
ROLES = (*SCOPES, "nothing:else")
WRONG = (
    *("no token", "no JWT", "expired", "not yet", "wrong audience", "wrong issuer", "wrong key", "unknown key"),
    *("alg none", "hs256", "no subject"),
)
CHANGES: dict[tuple[str, str], Any] = {
    ("post", "/v1/webhooks"): {"name": "table", "url": "no url", "view": "customers"},
    ("patch", "/v1/webhooks/{name}"): {"url": "https://crm.example/"},
    ("delete", "/v1/webhooks/{name}"): None,
    ("post", "/v1/webhooks/{name}/pause"): {"reason": "a table"},
    ("post", "/v1/webhooks/{name}/resume"): None,
    ("post", "/v1/webhooks/{name}/secret"): None,
    ("post", "/v1/webhooks/{name}/replay"): {},
    ("post", "/v1/webhooks/{name}/retry"): {},
    ("post", "/v1/dead-letters/{id}/replay"): None,
    ("post", "/v1/dead-letters/{id}/repair"): {"remove": ["data.mood"]},
    ("post", "/v1/parked/{seq}/release"): {"reason": "a table"},
    ("post", "/v1/parked/retry"): {"streams": ["no-stream"]},
}
"""What is sent to endpoints that change something: there is nothing that it would change."""
NAMES = pytest.mark.parametrize(("method", "path", "needs"), GUARDED, ids=lambda one: str(one))


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        running.keys["rsa"] = new_key("rsa", "RSA")
        yield running


@pytest.fixture(scope="module")
def server(history: History, issuer: Issuer) -> Iterator[Served]:
    with served(history.postgres, history.kafka, issuer) as running:
        yield running


def called(server: Served, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """One call that would succeed for whoever may do it, or find nothing to change."""
    is_return = path.startswith("/v1/audit/returns/")
    missing = {"name": "uk_disp" if is_return else "nobody", "id": 1 << 62, "seq": 1 << 62}
    where = path.format(customer_id="c-told", view="customer_timeline", case_id="told-1", **missing)
    if (method, path) in CHANGES:
        return server.client.request(method, where, json=CHANGES[method, path], headers=headers)
    if (method, path) == ("post", "/v1/events"):
        return server.client.post(
            where, content=EVENT, headers={**headers, "content-type": "application/cloudevents+json"}
        )
    if (method, path) == ("post", "/v1/receipts"):
        return server.client.post(where, json={"events": [{"source": "/told", "id": "told-opened"}]}, headers=headers)
    if path == "/v1/changes":
        return server.client.get(where, params={"view": "customers", "follow": "false"}, headers=headers)
    asked = {"source": "/told", "id": "told-opened"} if path == "/v1/receipts" else None
    if is_return:
        asked = {"since": "2026-01-01", "until": "2026-07-01"}
    return server.client.request(method, where, params=asked, headers=headers)


def bad_token(issuer: Issuer, how: str) -> str | None:
    """A token that would allow everything, were it not wrong in this way."""
    claims: dict[str, Any] = issuer.claims(scope="admin")
    now = claims["iat"]
    match how:
        case "no token":
            return None
        case "expired":
            return issuer.token(scope="admin", exp=now - 60)
        case "not yet":
            return issuer.token(scope="admin", nbf=now + 300)
        case "wrong audience":
            return issuer.token(scope="admin", aud="another")
        case "wrong issuer":
            return issuer.token(scope="admin", iss="https://another.example")
        case "wrong key":
            return issuer.token(scope="admin", key=new_key("first"))
        case "unknown key":
            return issuer.token(scope="admin", kid="unknown", key=new_key("unknown"))
        case "no subject":
            return issuer.token(scope="admin", sub=None)
        case "alg none":
            parts = ({"alg": "none", "kid": "first"}, claims)
            return ".".join(_encoded(orjson.dumps(part)) for part in parts) + "."
        case "hs256":
            # The public key, which everybody has, taken for a shared secret.
            said = ".".join(_encoded(orjson.dumps(one)) for one in ({"alg": "HS256", "kid": "rsa"}, claims))
            secret = issuer.keys["rsa"].as_pem(private=False)
            return f"{said}.{_encoded(hmac.digest(secret, said.encode(), 'sha256'))}"
    return "not.a.token"


def _encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).decode().rstrip("=")


@NAMES
@pytest.mark.parametrize("role", ROLES)
def test_an_endpoint_answers_those_with_its_scope_and_nobody_else(
    server: Served, method: str, path: str, needs: tuple[str, ...], role: str
) -> None:
    answer = called(server, method, path, server.bearer(scope=role))
    if role in (*needs, "admin"):
        assert answer.status_code in (200, 202) or (method, path) in CHANGES, answer.text
        assert answer.status_code in (200, 202, 404, 422), answer.text
    else:
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:kehu:problem:forbidden"
        assert "insufficient_scope" in answer.headers["www-authenticate"]


@NAMES
@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_token_opens_nothing(
    server: Served, issuer: Issuer, method: str, path: str, needs: tuple[str, ...], how: str
) -> None:
    token = bad_token(issuer, how)
    answer = called(server, method, path, {} if token is None else {"authorization": f"Bearer {token}"})
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:kehu:problem:unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")


OF_OTHERS = {
    "/v1/satisfaction": 200,
    "/v1/retention-risk": 200,
    "/v1/cases": 200,
    "/v1/queues": 200,
    "/v1/changes": 200,
    "/v1/customers/{customer_id}": 404,
    "/v1/customers/{customer_id}/timeline": 404,
}
"""What a token for other branches or segments gets: nothing of the rows, or no answer."""


@pytest.mark.parametrize(("path", "claim"), list(product(OF_OTHERS, ("branches", "segments"))))
@pytest.mark.parametrize("allowed", [["Elsewhere"], [], None, "Elsewhere"], ids=["another", "none", "absent", "text"])
def test_rows_of_others_are_neither_listed_nor_readable(server: Served, path: str, claim: str, allowed: object) -> None:
    claims: dict[str, Any] = {claim: allowed}
    answer = called(server, "get", path, server.bearer(**claims))
    assert answer.status_code == OF_OTHERS[path], answer.text
    if path == "/v1/changes":
        assert "event: complete" in answer.text
        assert "event: changed" not in answer.text
        return
    assert answer.json().get("rows", []) == []
    assert answer.headers.get("kehu-next") is None
    exported = server.get(path.replace("{customer_id}", "c-told") + "?format=ndjson", **claims)
    if path != "/v1/customers/{customer_id}":
        assert exported.status_code == OF_OTHERS[path]
        assert exported.status_code != 200 or exported.text == ""


def test_rows_of_ones_own_are_the_same_as_all_rows_of_that_branch(server: Served) -> None:
    for path in ("/v1/retention-risk", "/v1/cases"):
        everything = server.get(f"{path}?limit=1000").json()["rows"]
        branches = {row["branch"] for row in everything if row["branch"]}
        one, other, *_ = sorted(branches)
        key = "customer_id" if "risk" in path else "case"
        for mine in ([one], [one, other]):
            shown = server.get(f"{path}?limit=1000", branches=mine).json()["rows"]
            assert [row[key] for row in shown] == [row[key] for row in everything if row["branch"] in mine]
            assert 0 < len(shown) < len(everything)
        assert server.get(f"{path}?branch={one}", branches=[other]).json()["rows"] == []


def test_every_view_of_persons_or_sums_stands_in_the_table() -> None:
    assert {path for _, path, needs in GUARDED if "views:read" in needs} == set(OF_OTHERS)


def test_whatever_changes_the_service_needs_the_scope_for_it() -> None:
    changing = {(method, path) for method, path, needs in GUARDED if needs == ("service:write",)}
    assert changing == set(CHANGES)
    assert {(method, path) for method, path, _ in GUARDED if method != "get"} - changing == {
        ("post", "/v1/events"),
        ("post", "/v1/receipts"),
    }


def test_the_document_describes_every_endpoint() -> None:
    assert {(method, path) for method, path, _ in ENDPOINTS} == set(OPERATIONS)
    assert [path for _, path, needs in ENDPOINTS if not needs] == ["/health/live", "/health/ready"]


def test_a_channel_speaks_and_asks_for_its_own_source_only(server: Served) -> None:
    for source, status in (("/channels/table", 202), (["/x", "/channels/table"], 202), ("/channels", 403), (None, 403)):
        media = "application/cloudevents+json"
        answer = server.post("/v1/events", EVENT, media, scope="events:write", source=source)
        assert answer.status_code == status, answer.text
    asked = "/v1/receipts?source=/told&id=told-opened"
    assert server.get(asked, scope="events:write", source="/told").status_code == 200
    assert server.get(asked, scope="events:write", source="/other").status_code == 403


def test_keys_can_be_rotated_and_the_last_ones_count_while_the_provider_is_away(history: History) -> None:
    with issuing() as issuer, served(history.postgres, history.kafka, issuer, keys_for=0.000001) as server:
        assert server.get("/v1/queues").status_code == 200
        issuer.keys = {"second": new_key("second", "RSA")}
        assert server.get("/v1/queues", kid="second").status_code == 200
        old = new_key("first")
        assert server.get("/v1/queues", kid="first", key=old).status_code == 401
        issuer.away = True
        assert server.get("/v1/queues", kid="second", sub="another").status_code == 200


def test_a_token_that_was_checked_counts_no_longer_when_its_key_is_gone(history: History) -> None:
    with issuing() as issuer, served(history.postgres, history.kafka, issuer, keys_for=0.000001) as server:
        token = {"authorization": f"Bearer {issuer.token()}"}
        assert [server.client.get("/v1/queues", headers=token).status_code for _ in range(2)] == [200, 200]
        issuer.keys = {"second": new_key("second")}
        assert server.get("/v1/queues", kid="second").status_code == 200  # whose key must be asked for
        assert server.client.get("/v1/queues", headers=token).status_code == 401


def test_without_keys_nobody_is_let_in_and_the_server_is_not_ready(history: History) -> None:
    with issuing() as issuer, served(history.postgres, history.kafka, issuer) as server:
        issuer.away = True
        assert server.get("/v1/queues").status_code == 503
        assert server.client.get("/health/ready").status_code == 503
        assert server.client.get("/health/live").status_code == 200


def test_an_invented_key_id_does_not_make_the_server_ask_all_the_time(server: Served, issuer: Issuer) -> None:
    server.get("/v1/queues")
    before = len(issuer.asked)
    for number in range(20):
        assert server.get("/v1/queues", kid=f"invented-{number}", key=new_key("x")).status_code == 401
    assert len(issuer.asked) - before <= 2


def test_a_holder_who_asks_too_much_is_told_when_to_ask_again(history: History, issuer: Issuer) -> None:
    with served(history.postgres, history.kafka, issuer, rate=0.01, burst=2) as server:
        assert [server.get("/v1/queues").status_code for _ in range(2)] == [200, 200]
        answer = server.get("/v1/queues")
        assert (answer.status_code, answer.json()["type"]) == (429, "urn:kehu:problem:too-many")
        assert 1 <= int(answer.headers["retry-after"]) <= 101
        assert server.get("/v1/queues", sub="somebody else").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "kehu.example"])
def test_without_a_provider_the_server_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(OpenToAll):
        check_listens_safely(HttpSettings(host=host))
    check_listens_safely(HttpSettings(host=host, issuer="https://login.example/realms/bank"))
    for own in ("127.0.0.1", "::1", "localhost"):
        check_listens_safely(HttpSettings(host=own))


def test_keys_are_not_fetched_in_the_clear() -> None:
    with pytest.raises(ValueError, match="https only"):
        HttpSettings(issuer="http://login.example/realms/bank")
