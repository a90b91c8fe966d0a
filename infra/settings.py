"""Settings of a worker, from the environment: KEHU_POSTGRES, KEHU_KAFKA and so on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AwareDatetime, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.errors import KehuError

T = TypeVar("T", bound="Checked")


def _seconds(given: object) -> object:
    """A number in the environment is a text, and a text of digits no duration: it means seconds."""
    try:
        return timedelta(seconds=float(given)) if isinstance(given, str) else given
    except (ValueError, OverflowError):
        return given


Span = Annotated[timedelta, BeforeValidator(_seconds)]
"""A length of time: seconds, or ISO 8601 (`PT24H`)."""


class WrongSettings(KehuError):
    """A setting is missing or wrong. Correct the variable of the environment that is named."""

    exit_code = 2


class Checked(BaseSettings):
    """Settings from variables of the environment with one prefix."""

    model_config = SettingsConfigDict(env_prefix="KEHU_", frozen=True, extra="ignore")


class Accepted(Checked):
    """What a message may be at most; beyond it becomes a dead letter that says so."""

    max_value_bytes: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """Bytes of a message's value."""
    max_headers: int = Field(64, ge=16, le=10_000)
    """Headers of a message."""
    max_header_bytes: int = Field(16 * 1024, ge=1024, le=1024 * 1024)
    """Bytes of all its headers together."""
    max_nesting: int = Field(32, ge=4, le=500)
    """Objects and arrays of its JSON within each other."""
    max_digits: int = Field(40, ge=20, le=4000)
    """Digits of one number in its JSON."""
    max_ahead: Span = Field(timedelta(hours=24), ge=timedelta(0), le=timedelta(days=366))
    """How far its event's time may be ahead of the worker's clock."""
    earliest: AwareDatetime = datetime(1900, 1, 1, tzinfo=UTC)
    """Events that happened before this time are refused."""


class MasterKeySettings(Checked):
    """Under which master keys the data keys of customers are wrapped: see `infra.master_keys`."""

    master_key: SecretStr | None = None
    """The current master key: the base64 of 32 bytes."""
    former_master_keys: SecretStr = SecretStr("")
    """Those before it, separated by commas, until nothing is wrapped under them any more."""
    master_key_file: Path | None = None
    """A file with master keys instead, one in a line, the current one last."""
    master_keys: str = ""
    """`module:function` of an adapter instead, for a key management service."""


class ErasureSettings(Checked):
    """What holds an erasure up."""

    erasure_rules: Path | None = None
    """A bank's own rules on how long what must be kept, in the shape of `domain/rules/erasure.toml`."""
    topic_retention: Span = Field(timedelta(days=30), gt=timedelta(0))
    """How long the topics of channels may keep messages: until then somebody who is forgotten stands in them."""


class Settings(Accepted):
    """What a worker must know. Each field is the variable KEHU_<FIELD>; times are seconds or ISO 8601 (`PT24H`)."""

    postgres: str = Field(min_length=1)
    """Connection string of PostgreSQL."""
    kafka: str = Field(min_length=1)
    """Kafka bootstrap servers, host:port[,host:port]."""
    group: str = Field("kehu", min_length=1)
    """The consumer group: workers of one group share the partitions."""
    max_records: int = Field(2000, ge=1, le=50_000)
    """Messages in one transaction at most."""
    park_for: Span = Field(timedelta(hours=24), gt=timedelta(0))
    """How long a message waits for what it needs before it becomes a dead letter."""
    report_missed_for: Span = Field(timedelta(days=30), ge=timedelta(0))
    """A deadline that passed no longer ago is reported as missed; 0 reports none. Imported history has many older."""
    unread_for: Span = Field(timedelta(days=30), gt=timedelta(0))
    """How long the content of a message is kept that nobody can read, so that nobody knows whom it is about."""
    metrics_port: int | None = Field(None, ge=1, le=65535)
    """Where Prometheus finds the worker's metrics; nowhere by default."""
    metrics_host: str = Field("127.0.0.1", min_length=1)
    """The address that the metrics are served on."""
    seal_key: Path | None = None
    """The private key that the worker seals the log with; without one it does not seal."""
    seal_every: Span = Field(timedelta(seconds=10), ge=timedelta(seconds=1))
    """How long events wait for the next head at most, while the worker keeps up."""
    anchor_file: Path | None = None
    """A file that heads are appended to."""
    anchor_topic: bool = False
    """Whether heads are published to `kehu.heads` as well."""


class WebhookSettings(Checked):
    """What a process that tells webhooks must know."""

    postgres: str = Field(min_length=1)
    """Connection string of PostgreSQL."""
    webhook_networks: str = ""
    """Networks beside the internet where webhooks may go, with commas between them; plain http only goes there."""
    webhook_seconds: float = Field(15.0, gt=0, le=60)
    """That a webhook may take to answer."""


def read(**given: object) -> Settings:
    """The settings from the environment; what is given and not None comes first. Raises WrongSettings."""
    return checked(Settings, **given)


def accepted() -> Accepted:
    """What a message may be at most, from the environment. Raises WrongSettings."""
    return checked(Accepted)


def checked(kind: type[T], **given: object) -> T:
    """Settings of a kind from the environment; what is given and not None comes first. Raises WrongSettings."""
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        told = "; ".join(
            f"{prefix}{str(e['loc'][0]).upper()}: {e['msg']}" if e["loc"] else e["msg"] for e in error.errors()
        )
        raise WrongSettings(told) from None
