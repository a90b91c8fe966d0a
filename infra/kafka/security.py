"""How clients prove who they are to Kafka and whether the way is encrypted: one place for every client."""

import asyncio
import ssl
from pathlib import Path
from typing import Any, Literal

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError
from pydantic import SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from infra.settings import Checked, WrongSettings, checked

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]


class KafkaSecurity(Checked):
    """From the environment: KEHU_KAFKA_<FIELD>. Without any, neither a password is sent nor is anything encrypted."""

    model_config = SettingsConfigDict(env_prefix="KEHU_KAFKA_", frozen=True, extra="ignore")

    security_protocol: Protocol = "PLAINTEXT"
    """SASL: with a name and a password. SSL: encrypted, and the broker shows its certificate."""
    sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    """PLAIN sends the password itself, so it is for SASL_SSL only."""
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    """Certificates (PEM) that the broker's must lead to; those of the system if absent."""
    cert_file: Path | None = None
    """The client's own certificate (PEM), where the broker asks for one."""
    key_file: Path | None = None
    """Its private key (PEM); in `cert_file` if absent."""
    check_hostname: bool = True
    """The broker's certificate must be for the name by which it was reached."""

    @field_validator("ca_file", "cert_file", "key_file", mode="before")
    @classmethod
    def _absent(cls, value: object) -> object:
        """A variable that is set to nothing is not set."""
        return None if value == "" else value

    @model_validator(mode="after")
    def _whole(self) -> "KafkaSecurity":
        if self.security_protocol.startswith("SASL") and not (self.username and self.password.get_secret_value()):
            raise ValueError("SASL needs KEHU_KAFKA_USERNAME and KEHU_KAFKA_PASSWORD")
        if self.security_protocol == "SASL_PLAINTEXT" and self.sasl_mechanism == "PLAIN":
            raise ValueError("the password would be sent for all to read: use SASL_SSL, or a SCRAM mechanism")
        return self


def options() -> dict[str, Any]:
    """What both Kafka libraries want to be given, from the environment; nothing by default. Raises WrongSettings."""
    of = checked(KafkaSecurity)
    if of.security_protocol == "PLAINTEXT":
        return {}
    given: dict[str, Any] = {"security_protocol": of.security_protocol}
    if of.security_protocol.startswith("SASL"):
        given |= {
            "sasl_mechanism": of.sasl_mechanism,
            "sasl_plain_username": of.username,
            "sasl_plain_password": of.password.get_secret_value(),
        }
    if of.security_protocol.endswith("SSL"):
        given["ssl_context"] = _context(of)
    return given


async def refusal(bootstrap: str) -> str | None:
    """Why the broker does not let us in; None when it does, or when nothing is asked for.

    One connection is tried by hand: the clients only say that they could not connect, and try for long.
    """
    given = options()
    if not given:
        return None
    host, _, port = bootstrap.split(",", 1)[0].strip().rpartition(":")
    connection = AIOKafkaConnection(host.strip("[]"), int(port), request_timeout_ms=5000, **given)
    try:
        await connection.connect()
    except (KafkaError, OSError) as reason:
        return f"{reason}; see KEHU_KAFKA_SECURITY_PROTOCOL, _USERNAME, _PASSWORD and _CA_FILE"
    finally:
        closed = connection.close()
        if closed is not None:
            await asyncio.wait([closed], timeout=1)
    return None


def _context(of: KafkaSecurity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=of.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = of.check_hostname
        if of.cert_file is not None:
            context.load_cert_chain(of.cert_file, of.key_file)
    except (OSError, ValueError) as error:
        raise WrongSettings(f"KEHU_KAFKA_CA_FILE, _CERT_FILE or _KEY_FILE: {error}") from error
    return context
