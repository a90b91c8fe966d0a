"""The HTTP server does its work with the rights of `kehu_api`."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.cli import free_port
from tests.support.issuer import issuing
from tests.support.own_postgres import guarded_database
from tests.support.served import served


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A database on a server of its own, since roles belong to the server; the user has the role and nothing else."""
    with guarded_database() as url:
        with psycopg.connect(url) as conn:
            conn.execute(sql.SQL("CREATE ROLE server LOGIN PASSWORD 'server'"))
            conn.execute("GRANT kehu_api TO server")
        yield make_conninfo(url, user="server", password="server")


def test_it_answers_every_question_and_records_who_asked(guarded: str) -> None:
    with issuing() as issuer, served(guarded, f"127.0.0.1:{free_port()}", issuer) as server:
        for path in (
            *("satisfaction", "retention-risk", "queues", "cases", "projections", "dead-letters", "parked"),
            *("receipts?source=/a&id=b", "access-log", "acts", "queues?as_of=2020-01-01T00:00:00Z", "cases?format=csv"),
            "audit/replay/queue_items?diff=position:0",
            "audit/returns",
            *(f"audit/returns/uk_disp{what}?since=2026-01-01&until=2026-07-01" for what in ("", "/cases")),
        ):
            answer = server.get(f"/v1/{path}", scope="admin")
            assert answer.status_code == 200, (path, answer.text)
        assert server.get("/v1/customers/nobody").status_code == 404
        assert server.client.get("/health/ready").status_code == 200
        rows = server.get("/v1/access-log", scope="audit:read").json()["rows"]
        assert len(rows) == 9
        crm = {"name": "crm", "url": "https://crm.example/", "view": "customers"}
        told = server.bearer(scope="service:write")
        for method, path, body in (
            ("POST", "/v1/webhooks", crm),
            ("PATCH", "/v1/webhooks/crm", {"segments": ["private"]}),
            *(("POST", f"/v1/webhooks/crm/{what}", {}) for what in ("pause", "resume", "secret", "replay", "retry")),
            ("DELETE", "/v1/webhooks/crm", None),
            ("POST", "/v1/parked/retry", {"streams": ["none"]}),
        ):
            answer = server.client.request(method, path, json=body, headers=told)
            assert answer.status_code in (200, 201, 204), (path, answer.text)
    with psycopg.connect(guarded) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("DELETE FROM kehu.access_log")
    as_api = "-c role=kehu_api"
    with psycopg.connect(guarded, options=as_api) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("INSERT INTO kehu.access_log (id) OVERRIDING SYSTEM VALUE VALUES (9000000000)")
