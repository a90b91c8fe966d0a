"""A real OpenID provider: Keycloak with the realm of examples/, where KEHU_TEST_KEYCLOAK names a distribution."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.cli import History, free_port
from tests.support.issuer import Issuer
from tests.support.keycloak import VARIABLE, Keycloak, keycloak
from tests.support.processes import until
from tests.support.project import ROOT
from tests.support.served import Served, served

pytestmark = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"needs a Keycloak: set {VARIABLE} to an unpacked distribution"
)
REALM = json.loads((ROOT / "examples" / "keycloak-realm.json").read_text())


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    log = tmp_path_factory.mktemp("keycloak") / "log"
    with keycloak(Path(os.environ[VARIABLE]), free_port(), log) as running:
        running.admin("POST", "", REALM)
        yield running


@pytest.fixture(scope="module")
def server(provider: Keycloak, history: History) -> Iterator[Served]:
    own = Issuer(url=provider.issuer("bank"))
    with served(history.postgres, history.kafka, own, skew=0, keys_for=0.000001) as running:
        yield running


def asked(server: Served, path: str, token: str) -> httpx.Response:
    return server.client.get(path, headers={"authorization": f"Bearer {token}"})


def test_its_tokens_open_what_their_scope_and_their_claims_allow(server: Served, provider: Keycloak) -> None:
    desk = provider.token("bank", "desk", "views:read")
    answer = asked(server, "/v1/retention-risk", desk)
    assert answer.status_code == 200, answer.text
    assert {row["branch"] for row in answer.json()["rows"]} <= {"north", "south"}
    assert asked(server, "/v1/webhooks", desk).status_code == 403
    operations = provider.token("bank", "operations", "service:write")
    told = {"authorization": f"Bearer {operations}"}
    assert server.client.post("/v1/parked/retry", json={"streams": ["none"]}, headers=told).status_code == 200
    assert asked(server, "/v1/retention-risk", operations).status_code == 403
    channel = provider.token("bank", "channel-web", "events:write")
    assert asked(server, "/v1/receipts?source=/channels/web&id=none", channel).status_code == 200
    assert asked(server, "/v1/receipts?source=/channels/app&id=none", channel).status_code == 403


def test_it_goes_on_when_keys_are_rotated_and_what_was_signed_before_counts_no_more(
    server: Served, provider: Keycloak
) -> None:
    before = provider.token("bank", "desk", "views:read")
    assert asked(server, "/v1/queues", before).status_code == 200
    provider.rotate("bank")
    after = provider.token("bank", "desk", "views:read")
    assert asked(server, "/v1/queues", after).status_code == 200
    assert asked(server, "/v1/queues", before).status_code == 401


def test_a_token_that_has_expired_is_refused(server: Served, provider: Keycloak) -> None:
    provider.admin("PUT", "/bank", {"accessTokenLifespan": 2})
    token = provider.token("bank", "desk", "views:read")
    assert asked(server, "/v1/queues", token).status_code == 200
    until(lambda: asked(server, "/v1/queues", token).status_code == 401)
    assert "expired" in asked(server, "/v1/queues", token).json()["detail"]
