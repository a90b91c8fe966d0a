"""Keys that tokens are checked with: those of an OpenID provider, fetched and kept, or one of this machine's own."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Protocol
from urllib.request import HTTPRedirectHandler, Request, build_opener

import orjson
from joserfc import jwk
from joserfc.errors import JoseError

from infra.errors import KehuError

AGAIN = 10.0
"""Seconds between two looks for an unknown key: whoever invents key ids must not make us ask all the time."""
SECONDS, MOST = 5.0, 512 * 1024
"""How long the provider may take to answer, and how much it may say."""
Fetch = Callable[[str], Any]
Key = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


class NoKeys(KehuError):
    """The OpenID provider's keys cannot be fetched. Check KEHU_HTTP_ISSUER or KEHU_HTTP_JWKS_URL, and that it runs."""

    exit_code = 3


class Keys(Protocol):
    """Where the keys of tokens come from."""

    generation: int
    """Changes whenever the keys do."""

    def find(self, kid: str | None) -> Key | None:
        """The key of this id; without an id the only one there is. Raises NoKeys."""

    def refresh(self) -> None:
        """Ask again when it is time for it. Raises NoKeys when there are none to go on with."""


class ProviderKeys:
    """The keys of an OpenID provider. Asked anew after a while, and at once for a key that is not known: so keys can be
    rotated. While the provider is away those it named last go on counting.
    """

    def __init__(self, issuer: str, jwks_url: str, keep: float, fetch: Fetch | None = None) -> None:
        self._issuer = issuer.rstrip("/")
        self._url = jwks_url
        self._keep = keep
        self._fetch = fetch or fetch_json
        self._keys: dict[str | None, Key] = {}
        self._asked: float | None = None
        self._lock = Lock()
        self.generation = 0

    def refresh(self) -> None:
        with self._lock:
            if self._asked is None or monotonic() - self._asked > self._keep:
                self._ask()

    def find(self, kid: str | None) -> Key | None:
        self.refresh()
        with self._lock:
            known = self._known(kid)
            if known is None and self._asked is not None and monotonic() - self._asked > min(AGAIN, self._keep):
                self._ask()
                known = self._known(kid)
        return known

    def _known(self, kid: str | None) -> Key | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _ask(self) -> None:
        try:
            url = self._url or str(self._fetch(f"{self._issuer}/.well-known/openid-configuration")["jwks_uri"])
            found = imported(self._fetch(url)["keys"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if not self._keys:
                raise NoKeys(f"{type(error).__name__}: {error}") from error
            self._asked = monotonic()
            return
        self._asked = monotonic()
        if found.keys() != self._keys.keys():
            self.generation += 1
        self._keys = found


def imported(keys: list[dict[str, Any]]) -> dict[str | None, Key]:
    """Public keys for signatures, by id; what is for something else, or of an unknown kind, is left out."""
    found: dict[str | None, Key] = {}
    for one in keys:
        if one.get("use", "sig") != "sig" or one.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        with suppress(JoseError, ValueError, KeyError):
            key: Any = jwk.import_key({name: value for name, value in one.items() if name != "key_ops"})
            found[one.get("kid")] = key
    return found


def fetch_json(url: str) -> Any:
    """A document of the provider. Redirects are not followed: they could lead to anybody."""
    with build_opener(_Stay).open(Request(url, headers={"Accept": "application/json"}), timeout=SECONDS) as answer:  # noqa: S310 (the settings let https through only)
        return orjson.loads(answer.read(MOST))


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_given: Any) -> None:
        return None


class DevelopmentKey:
    """A key of this machine's user, made when it is first needed, for a server that only this machine can reach."""

    generation = 0

    def __init__(self, path: Path | None = None) -> None:
        """Raises NoDevelopmentKey when it can neither be read nor made."""
        self.path = path or _state() / "kehu" / "development-key.json"
        try:
            self.private = self._read()
        except (OSError, ValueError, JoseError) as error:
            raise NoDevelopmentKey(f"{self.path}: {error}") from error

    def find(self, kid: str | None) -> Key | None:
        return self.private if kid == self.private.kid else None

    def refresh(self) -> None:
        pass

    def _read(self) -> jwk.OKPKey:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = jwk.OKPKey.generate_key("Ed25519", {"use": "sig"}, private=True, auto_kid=True)
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        part.touch(mode=0o600)
        part.write_bytes(orjson.dumps(made.as_dict(private=True)))
        try:
            # Two that begin at once agree on one key.
            with suppress(FileExistsError):
                os.link(part, self.path)
        finally:
            part.unlink()
        return jwk.OKPKey.import_key(orjson.loads(self.path.read_bytes()))


class NoDevelopmentKey(KehuError):
    """The key of the development tokens cannot be kept. Set KEHU_HTTP_DEVELOPMENT_KEY to a file that may be written."""

    exit_code = 2


def _state() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
