"""A Keycloak of its own: the distribution that KEHU_TEST_KEYCLOAK names, in development mode on a loopback port."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

VARIABLE = "KEHU_TEST_KEYCLOAK"
PASSWORD = "admin-of-a-test"
STARTS_WITHIN = 120
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Keycloak:
    """A running one, as its administrator."""

    client: httpx.Client

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """What the administration answers."""
        said = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": PASSWORD}
        bearer = {"authorization": f"Bearer {self._token('master', said)}"}
        answer = self.client.request(method, f"/admin/realms{path}", json=body, headers=bearer).raise_for_status()
        return answer.json() if answer.content else None

    def issuer(self, realm: str) -> str:
        """The issuer of a realm."""
        return f"{str(self.client.base_url).rstrip('/')}/realms/{realm}"

    def token(self, realm: str, client: str, scope: str) -> str:
        """An access token for a service."""
        (found,) = self.admin("GET", f"/{realm}/clients?clientId={client}")
        secret = self.admin("GET", f"/{realm}/clients/{found['id']}/client-secret")["value"]
        said = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": scope}
        return self._token(realm, said)

    def rotate(self, realm: str) -> None:
        """Sign with a new key from now on, and forget those that signed before."""
        kind = "org.keycloak.keys.KeyProvider"
        there = self.admin("GET", f"/{realm}/components?type={kind}")
        before = [one for one in there if one["providerId"] == "rsa-generated"]
        new = {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]}
        made = {"name": "rotated", "providerId": "rsa-generated", "providerType": kind, "config": new}
        self.admin("POST", f"/{realm}/components", made)
        for one in before:
            self.admin("DELETE", f"/{realm}/components/{one['id']}")

    def _token(self, realm: str, said: dict[str, str]) -> str:
        path = f"/realms/{realm}/protocol/openid-connect/token"
        return str(self.client.post(path, data=said).raise_for_status().json()["access_token"])


@contextmanager
def keycloak(home: Path, port: int, log: Path) -> Iterator[Keycloak]:
    """It runs with a database in memory, and is ended."""
    command: list[str | Path] = [home / "bin" / "kc.sh", "start-dev", "--http-host=127.0.0.1", f"--http-port={port}"]
    settings = {
        "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
        "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
    }
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--db=dev-mem", "--cache=local"], env=os.environ | settings, stdout=out, stderr=out
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                _wait(client, process, log)
                yield Keycloak(client)
        finally:
            process.terminate()
            process.wait(60)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        try:
            if client.get("/realms/master").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"Keycloak did not start: {log.read_text()[-1000:]}")
