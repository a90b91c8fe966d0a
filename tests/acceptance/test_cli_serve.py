"""`kehu serve` and `kehu token`, as processes."""

import re
import signal
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from domain.complaint import ComplaintOpened
from infra.kafka import codec
from infra.kafka.envelopes import STRUCTURED
from tests.support.builders import fact
from tests.support.cli import free_port, kehu
from tests.support.processes import KEHU, ROOT, Kehu, until

SAID = "I am Zaphod"


def test_a_development_token_opens_a_server_of_this_machine_until_it_ends(kehu: Kehu) -> None:
    key, told = kehu.folder / "key.json", kehu.folder / "serve.log"
    port = free_port()
    env = {**kehu.env, "KEHU_HTTP_DEVELOPMENT_KEY": str(key), "KEHU_HTTP_PORT": str(port)}
    with told.open("wb") as log:
        server = subprocess.Popen([*KEHU, "serve"], cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        until(lambda: _ready(f"http://127.0.0.1:{port}"))
        scopes = ("--scope", "views:read", "--scope", "events:write")
        command = [*KEHU, "token", *scopes, "--branch", "Leeds"]
        token = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout.strip()
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            assert client.get("/v1/cases").status_code == 200
            assert client.get("/v1/parked").status_code == 403
            # What is published is nowhere in its log, whether it was taken, refused, or not understood at all.
            known = codec.structured(fact(ComplaintOpened(complaint_id="p1", channel="app", description=SAID)))[1]
            for body, status in ((known, 202), (known.replace(b"complaint_id", b"case"), 422), (SAID.encode(), 422)):
                assert (
                    client.post("/v1/events", content=body, headers={"content-type": STRUCTURED}).status_code == status
                )
            assert "server" not in client.get("/health/live").headers
        assert "NO OPENID PROVIDER" in told.read_text()
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in (0, -signal.SIGTERM)
    assert "Traceback" not in told.read_text()
    assert SAID not in told.read_text()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_what_cannot_be_served_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEHU_HTTP_DEVELOPMENT_KEY", str(tmp_path / "key.json"))
    servers = ("--postgres", "dbname=none", "--kafka", "127.0.0.1:1")
    for arguments, told in (
        (("serve", "--host", "0.0.0.0"), "listens on this machine only"),
        (("serve", "--port", "70000"), "KEHU_HTTP_PORT"),
        (("token", "--scope", "everything"), "no such scope"),
    ):
        done = kehu(*arguments, *(servers if arguments[0] == "serve" else ()))
        assert done.code == 2
        assert told in done.err
        assert len(done.err.splitlines()) == 1


def test_with_a_provider_there_are_no_development_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEHU_HTTP_DEVELOPMENT_KEY", str(tmp_path / "key.json"))
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", kehu("token").out)
    monkeypatch.setenv("KEHU_HTTP_ISSUER", "https://login.example/realms/bank")
    assert "come from the OpenID provider" in kehu("token").err
