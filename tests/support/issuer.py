"""An OpenID provider of our own for tests: a discovery document, keys that can be rotated, and tokens that it signs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import time
from typing import Any

import orjson
from joserfc import jwk, jwt

AUDIENCE = "kehu"
Key = jwk.RSAKey | jwk.ECKey


def new_key(kid: str, kind: str = "EC") -> Key:
    """A key pair for ES256, or for RS256."""
    if kind == "RSA":
        return jwk.RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, private=True)
    return jwk.ECKey.generate_key("P-256", {"kid": kid, "use": "sig"}, private=True)


@dataclass
class Issuer:
    """A running provider."""

    url: str = ""
    keys: dict[str, Key] = field(default_factory=lambda: {"first": new_key("first")})
    asked: list[str] = field(default_factory=list)
    """The paths that were fetched, in order."""
    away: bool = False

    def document(self, path: str) -> Any:
        """What is served at a path."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        # Providers also publish keys that are not for signatures, and of kinds that we do not know.
        others = [{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}, {"kty": "new", "kid": "new"}]
        return {"keys": [*others, *(key.as_dict(private=False) for key in self.keys.values())]}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """What a token says that sees everything, with some of it changed, or without what is None."""
        now = int(time())
        every = {"branches": "*", "segments": "*", "source": "*", "scope": "views:read"}
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "u-1", "azp": "desk", "iat": now, "exp": now + 600, **every}
        return {name: value for name, value in (said | changed).items() if value is not None}

    def token(self, kid: str = "first", key: Key | None = None, **changed: Any) -> str:
        """A token that is signed by one of the keys, or by another one."""
        by = key or self.keys[kid]
        algorithm = "RS256" if isinstance(by, jwk.RSAKey) else "ES256"
        return jwt.encode({"alg": algorithm, "kid": kid}, self.claims(**changed), by)


@contextmanager
def issuing() -> Iterator[Issuer]:
    """A provider that answers on a free port."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            body = orjson.dumps(issuer.document(self.path))
            self.send_response(503 if issuer.away else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_given: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield issuer
        server.shutdown()
        thread.join()
