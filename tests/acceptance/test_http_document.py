"""The OpenAPI document: it is what the endpoints say, and the endpoints keep to it, whatever they are sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from infra.http import openapi
from infra.http.app import routed
from infra.http.problems import Problem
from tests.support.cli import History
from tests.support.issuer import Issuer, issuing
from tests.support.served import Served, served

ROOT = Path(__file__).parents[2]
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(openapi.document(routed()))


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture(scope="module")
def server(history: History, issuer: Issuer) -> Iterator[Served]:
    with served(history.postgres, history.kafka, issuer, wait_seconds=0.05) as running:
        yield running
    with psycopg.connect(history.postgres) as conn:
        conn.execute("DELETE FROM kehu.webhooks")


@schema.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_the_answer_is_as_described(case: Any, server: Served) -> None:
    if case.path == "/v1/changes":
        case.query = {**(case.query or {}), "follow": "false"}  # it would go on for ever
    for name in {"id", "seq"} & (case.path_parameters or {}).keys():
        case.path_parameters[name] = (1 << 62) + hash(case.path_parameters[name]) % 100  # others need those there are
    response = case.call(base_url=server.url, headers=server.bearer(scope="admin"))
    case.validate_response(response, checks=CHECKS)


def test_the_file_is_what_the_endpoints_say() -> None:
    assert not openapi.stale(ROOT), "run `python -m infra.http.openapi`"


def test_a_file_that_was_changed_by_hand_is_stale(tmp_path: Path) -> None:
    assert openapi.stale(tmp_path)
    file = tmp_path / openapi.FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(openapi.generate())
    assert not openapi.stale(tmp_path)
    file.write_bytes(openapi.generate().replace(b"Kehu", b"Other"))
    assert openapi.stale(tmp_path)


def test_the_server_shows_its_document(server: Served) -> None:
    assert server.client.get("/openapi.json").json()["paths"].keys() == openapi.document(routed())["paths"].keys()


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v2/queues", 404, "no-such-path"),
        ("GET", "/v1/queues/", 404, "no-such-path"),
        ("DELETE", "/v1/queues", 405, "wrong-method"),
        ("PUT", "/v1/events", 405, "wrong-method"),
        ("GET", "/v1/queues?limit=0", 422, "invalid"),
        ("GET", "/v1/queues?limit=many", 422, "invalid"),
        ("GET", "/v1/queues?quee=cards", 422, "invalid"),
        ("GET", "/v1/cases?as_of=2026-01-01T00:00:00", 422, "invalid"),
        ("GET", "/v1/cases?as_of=9999-12-31T23:59:59-23:59", 422, "invalid"),
        ("GET", "/v1/customers/two%20words", 422, "invalid"),
        ("GET", "/v1/customers/x?min_position=99999999999999999999", 422, "invalid"),
        ("GET", "/v1/queues?queue=a%00b", 422, "invalid"),
        ("POST", "/v1/receipts", 422, "invalid"),
    ],
)
def test_every_error_is_a_problem(server: Served, method: str, path: str, status: int, kind: str) -> None:
    answer = server.client.request(method, path, headers=server.bearer(scope="admin"))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    told = answer.json()
    assert (told["type"], told["status"]) == (f"urn:kehu:problem:{kind}", status)
    assert "many" not in answer.text
    if status == 405:
        assert answer.headers["allow"]


def test_an_error_that_nobody_foresaw_is_a_problem_without_its_cause(server: Served, history: History) -> None:
    app = routed()

    async def broken() -> None:
        raise ZeroDivisionError("a secret of the server")

    app.add_api_route("/broken", broken)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://kehu") as client:
            return await client.get("/broken")

    import asyncio

    answer = asyncio.run(asked())
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:kehu:problem:unforeseen")
    assert "secret" not in answer.text


def test_a_problem_names_a_remedy_in_its_title() -> None:
    kinds = Problem.__subclasses__()
    assert len(kinds) > 12
    for kind in kinds:
        assert len(kind.title().split(". ")) >= 2 or "," in kind.title(), kind
        assert kind.status >= 400
    assert len({kind.kind() for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("view", ["satisfaction", "retention-risk", "service-queues", "customers"])
def test_every_event_of_a_stream_is_as_described(view: str, server: Served) -> None:
    case = schema["/v1/changes"]["GET"].Case(query={"view": view, "follow": "false"})
    response = case.call(base_url=server.url, headers=server.bearer(scope="admin"))
    assert "event: restarted" in response.text
    case.validate_response(response, checks=CHECKS)
