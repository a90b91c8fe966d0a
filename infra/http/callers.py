"""Who asks, and what they may: scopes for what is done, claims for whose rows and in whose name."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from infra.http.problems import Forbidden
from infra.http.scopes import ADMIN, EVERYTHING

RULED = ("branches", "segments")
"""Claims that say whose rows a caller sees: without one of them, nobody's."""
Allowed = frozenset[str] | None
"""Values that are allowed; None for all."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token speaks for."""

    subject: str
    client: str | None
    scopes: frozenset[str]
    sources: Allowed
    branches: Allowed
    segments: Allowed

    def may(self, *scopes: str) -> bool:
        """Whether one of these scopes was granted."""
        return ADMIN in self.scopes or any(scope in self.scopes for scope in scopes)

    def require(self, *scopes: str) -> None:
        """Raises Forbidden unless one of these scopes was granted."""
        if not self.may(*scopes):
            told = " or ".join(scopes)
            given = f'Bearer realm="kehu", error="insufficient_scope", scope="{scopes[0]}"'
            raise Forbidden(f"it needs the scope {told}", {"WWW-Authenticate": given})

    def require_source(self, source: str) -> None:
        """Raises Forbidden unless the caller may speak for this source."""
        if self.sources is not None and source not in self.sources:
            raise Forbidden(f"the claim source does not name {source[:100]!r}")

    @property
    def sees_all(self) -> bool:
        """Whether no row is hidden from the caller."""
        return self.branches is None and self.segments is None

    @property
    def rights(self) -> str:
        """Of two callers the same when they may see the same rows; empty for all of them."""
        if self.sees_all:
            return ""
        said = [None if allowed is None else sorted(allowed) for allowed in (self.branches, self.segments)]
        return sha256(orjson.dumps(said)).hexdigest()[:16]

    def rows(self, branch: str | None, segment: str | None) -> dict[str, object]:
        """The branches and segments that a question is about: those asked for that may be seen, None for all."""
        return {"branch": _within(self.branches, branch), "segment": _within(self.segments, segment)}

    def sees(self, row: Mapping[str, Any]) -> bool:
        """Whether a row with a branch and a segment may be seen."""
        return all(
            allowed is None or row[name] in allowed
            for name, allowed in (("branch", self.branches), ("segment", self.segments))
        )


def of_claims(claims: Mapping[str, Any]) -> Caller:
    """The caller that verified claims speak of."""
    scope = claims.get("scope", claims.get("scp", ""))
    scopes = frozenset(scope.split() if isinstance(scope, str) else map(str, scope))
    everything = ADMIN in scopes
    sources, branches, segments = (None if everything else _allowed(claims.get(name)) for name in ("source", *RULED))
    client = claims.get("azp") or claims.get("client_id")
    return Caller(str(claims["sub"]), str(client) if client else None, scopes, sources, branches, segments)


def _allowed(claim: object) -> Allowed:
    values = frozenset(map(str, claim)) if isinstance(claim, list) else frozenset([str(claim)] if claim else ())
    return None if EVERYTHING in values else values


def _within(allowed: Allowed, asked: str | None) -> object:
    if allowed is None:
        return asked
    if asked is not None:
        return asked if asked in allowed else []
    return next(iter(allowed)) if len(allowed) == 1 else sorted(allowed)
