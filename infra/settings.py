"""Settings of a worker, from the environment: KEHU_POSTGRES, KEHU_KAFKA and so on."""

from datetime import timedelta

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.errors import KehuError


class WrongSettings(KehuError):
    """A setting is missing or wrong. Correct the variable of the environment that is named."""

    exit_code = 2


class Settings(BaseSettings):
    """What a worker must know. Each field is the variable KEHU_<FIELD>; times are seconds or ISO 8601 (`PT24H`)."""

    model_config = SettingsConfigDict(env_prefix="KEHU_", frozen=True, extra="ignore")

    postgres: str = Field(min_length=1)
    """Connection string of PostgreSQL."""
    kafka: str = Field(min_length=1)
    """Kafka bootstrap servers, host:port[,host:port]."""
    group: str = Field("kehu", min_length=1)
    """The consumer group: workers of one group share the partitions."""
    max_records: int = Field(2000, ge=1, le=50_000)
    """Messages in one transaction at most."""
    park_for: timedelta = Field(timedelta(hours=24), gt=timedelta(0))
    """How long a message waits for what it needs before it becomes a dead letter."""
    web_port: int | None = Field(None, ge=1, le=65535)
    """Where Faust's monitor answers on loopback; nowhere by default."""


def read(**given: object) -> Settings:
    """The settings from the environment; what is given and not None comes first. Raises WrongSettings."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        told = "; ".join(f"KEHU_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise WrongSettings(told) from None
