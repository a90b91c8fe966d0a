"""Access tokens: JWTs, checked once and then remembered by their digest while nothing about them can change."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from time import time
from typing import Any

import orjson
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from infra.http.callers import Caller, of_claims
from infra.http.keys import DevelopmentKey, Key, Keys, NoKeys
from infra.http.problems import Away, Unauthenticated
from infra.http.settings import ALGORITHMS

REMEMBERED = 10_000
AT_MOST = 300.0
"""Seconds for which a token counts without another look, though it expires later."""
LONGEST = 16 * 1024
DEVELOPMENT = "kehu-development"
"""The issuer of development tokens."""
_FITTING = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}


class Tokens:
    """Checks tokens of one issuer for one audience."""

    def __init__(self, keys: Keys, issuer: str, audience: str, skew: float, clock: Callable[[], float] = time) -> None:
        self._keys = keys
        self._clock = clock
        self._skew = skew
        self._registry = JWSRegistry(algorithms=list(ALGORITHMS))
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=int(skew),
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._known: OrderedDict[bytes, tuple[float, int, Caller]] = OrderedDict()

    def remembered(self, token: str) -> Caller | None:
        """Whom a token speaks for that was checked before; None when it must be checked."""
        known = self._known.get(sha256(token.encode()).digest())
        if known is None or known[0] <= self._clock() or known[1] != self._keys.generation:
            return None
        return known[2]

    def check(self, token: str) -> Caller:
        """Whom a token speaks for. May fetch keys. Raises Unauthenticated, and Away when there are no keys."""
        generation = self._keys.generation
        claims = self._verified(token)
        caller = of_claims(claims)
        until = min(float(claims["exp"]) + self._skew, self._clock() + AT_MOST)
        self._known[sha256(token.encode()).digest()] = until, max(generation, self._keys.generation), caller
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return caller

    def _verified(self, token: str) -> dict[str, Any]:
        try:
            if len(token) > LONGEST:
                raise ValueError(f"it is longer than {LONGEST} characters")
            head = orjson.loads(urlsafe_b64decode(token.partition(".")[0].encode()))
            key = self._key(head)
            claims = jwt.decode(token, key, registry=self._registry).claims
            self._claims.validate(claims)
        except NoKeys as error:
            raise Away("the OpenID provider's keys cannot be fetched") from error
        except (JoseError, ValueError, TypeError, AttributeError, UnicodeError) as error:
            raise _refused(error) from None
        return claims

    def _key(self, head: dict[str, Any]) -> Key:
        algorithm = head.get("alg")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"the algorithm is not one of {', '.join(ALGORITHMS)}")
        key = self._keys.find(head.get("kid"))
        if key is None:
            raise ValueError("its key is not among those of the issuer")
        if not str(algorithm).startswith(_FITTING[key.key_type]) or key.alg not in (None, algorithm):
            raise ValueError("its algorithm does not fit its key")
        return key


def _refused(error: Exception) -> Unauthenticated:
    match error:
        case ExpiredTokenError():
            told = "it has expired"
        case InvalidClaimError() | MissingClaimError():
            told = f"the claim {error.claim} is missing or wrong"
        case JoseError():
            told = "it is no token that its key has signed"
        case ValueError() if type(error) is ValueError:
            told = str(error)
        case _:
            told = "it is no JWT"
    challenge = f'Bearer realm="kehu", error="invalid_token", error_description="{told}"'
    return Unauthenticated(f"the token is refused: {told}", {"WWW-Authenticate": challenge})


def development_token(
    key: DevelopmentKey,
    audience: str,
    seconds: int,
    scopes: Sequence[str],
    sources: Sequence[str],
    branches: Sequence[str],
    segments: Sequence[str],
    subject: str,
) -> str:
    """A token that a server without an OpenID provider takes, on this machine only."""
    now = int(time())
    claims = {
        "iss": DEVELOPMENT,
        "aud": audience,
        "sub": subject,
        "iat": now,
        "exp": now + seconds,
        "scope": " ".join(scopes),
        "source": list(sources),
        "branches": list(branches),
        "segments": list(segments),
    }
    header = {"alg": "Ed25519", "kid": key.private.kid}
    return jwt.encode(header, claims, key.private, algorithms=["Ed25519"])
