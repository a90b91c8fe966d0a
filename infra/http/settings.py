"""Settings of the HTTP server, from the environment: KEHU_HTTP_<FIELD>."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from infra.errors import KehuError
from infra.settings import Checked

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
"""Signatures that are made with a key that the server does not have. Never `none`, never a shared secret."""


class OpenToAll(KehuError):
    """Without an OpenID provider the server listens on this machine only. Set KEHU_HTTP_ISSUER and KEHU_HTTP_AUDIENCE,
    or leave KEHU_HTTP_HOST at 127.0.0.1.
    """

    exit_code = 2


class HttpSettings(Checked):
    """What the HTTP server must know. Each field is the variable KEHU_HTTP_<FIELD>; times are seconds or ISO 8601."""

    model_config = SettingsConfigDict(env_prefix="KEHU_HTTP_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", min_length=1)
    """The address it listens on. Any other than loopback needs a provider."""
    port: int = Field(8080, ge=0, le=65535)
    """0 takes a free one and says which."""
    issuer: str = ""
    """The OpenID provider, as its tokens name it in `iss`. Without one only development tokens count."""
    audience: str = Field("kehu", min_length=1)
    """What tokens for this server name in `aud`."""
    jwks_url: str = ""
    """Where the provider's keys are; what its discovery document says, if absent."""
    skew: timedelta = Field(timedelta(seconds=30), ge=timedelta(0), le=timedelta(minutes=5))
    """How far the provider's clock may be from ours."""
    keys_for: timedelta = Field(timedelta(minutes=5), gt=timedelta(0), le=timedelta(days=1))
    """How long the provider's keys count without asking again. An unknown key is asked for at once."""
    development_key: Path | None = None
    """Where the key of the development tokens is kept; in the user's state folder, if absent."""
    rate: float = Field(200.0, gt=0)
    """Requests a second of one token's holder, in the long run."""
    burst: int = Field(400, ge=1)
    """Requests that may come at once after a rest."""
    body_bytes: int = Field(4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Bytes of a request's body."""
    batch_events: int = Field(1000, ge=1, le=10_000)
    """Events in one batch, and receipts in one question."""
    connections: int = Field(4, ge=1, le=64)
    """Questions at one time, each with a connection of its own."""
    exports: int = Field(4, ge=1, le=64)
    """Exports and moments of the past at one time, each with a connection of its own."""
    export_seconds: int = Field(900, ge=1, le=86_400)
    """After which an export that is not finished is cut."""
    followers: int = Field(1000, ge=0, le=100_000)
    """Callers that may follow changes at one time."""
    follow_seconds: float = Field(900.0, gt=0, le=86_400)
    """After which a follower has to come again, with a token that counts then."""
    wait_seconds: float = Field(30.0, ge=0, le=300)
    """For how long a question with `min_position` may wait."""
    publish_seconds: float = Field(10.0, gt=0, le=300)
    """How long Kafka may take to acknowledge."""
    purpose_required: bool = False
    """Whether personal data is read only with an `X-Purpose` header that says why."""

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _encrypted(cls, value: str) -> str:
        if value and urlsplit(value).scheme != "https" and not is_loopback(urlsplit(value).hostname or ""):
            raise ValueError("keys are fetched over https only")
        return value


def is_loopback(host: str) -> bool:
    """Whether this address is of this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_listens_safely(settings: HttpSettings) -> None:
    """Raises OpenToAll when others could reach a server that takes development tokens."""
    if not settings.issuer and not is_loopback(settings.host):
        raise OpenToAll(f"KEHU_HTTP_HOST is {settings.host}")
