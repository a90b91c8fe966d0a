"""CloudEvents 1.0 from and to Kafka messages, in both modes. Whatever a channel sends may raise nothing but
Unreadable, with a rule for the tables and a detail that says what to mend; personal values are never echoed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import blake2b
from re import compile as pattern
from typing import Any

import orjson
from pydantic import ValidationError

from domain import handling, registry, upcasts
from domain.ports import Message
from domain.values import CustomerId, Event, Fact, Meta
from infra.errors import Unreadable
from infra.kafka.topics import topic_of

STRUCTURED = "application/cloudevents+json"
_CUSTOMER = pattern(r"[\w.:/@+-]{1,64}")
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may be at most: bytes of its value, number of headers, how far ahead of now."""

    value_bytes: int = 1024 * 1024
    headers: int = 64
    future: timedelta = timedelta(hours=24)


@cache
def types() -> Mapping[str, registry.Registration]:
    """CloudEvents type -> registration, for everything a channel may publish."""
    assert handling.AGGREGATES  # the aggregates register their events when they are imported
    return {r.type: r for r in registry.all_registrations() if r.published}


def decode(message: Message, now: datetime, limits: Limits = Limits()) -> Fact:
    """The fact in a message. Raises Unreadable."""
    value = message.value
    if value is None:
        raise Unreadable("tombstone", "the value is null: an event cannot be deleted, publish what happened instead")
    if len(value) > limits.value_bytes:
        raise Unreadable("too-large", f"{len(value)} bytes, at most {limits.value_bytes} are accepted")
    if len(message.headers) > limits.headers:
        raise Unreadable("too-many-headers", f"{len(message.headers)} headers, at most {limits.headers} are accepted")
    if b"\\u0000" in value:
        raise Unreadable("nul-character", "a string holds the NUL character: remove it")
    headers = dict(message.headers)
    if "ce_specversion" in headers or "ce_type" in headers:
        attributes: dict[str, Any] = {
            name[3:]: _utf8(raw, name) for name, raw in headers.items() if name.startswith("ce_")
        }
        data: Any = value
    else:
        content_type = _utf8(headers.get("content-type", b""), "content-type")
        if content_type and not content_type.startswith(STRUCTURED):
            raise Unreadable("wrong-content-type", f"{content_type[:60]!r}: send {STRUCTURED}, or binary mode headers")
        attributes = _json_object(value)
        if "data" not in attributes:
            raise Unreadable("bad-envelope", "the attribute data is missing")
        data = attributes["data"]
    registration, version = _registration(attributes, message.partition.topic)
    meta = _meta(attributes, now, limits)
    if message.key is None:
        raise Unreadable("key-missing", "the Kafka key must be the customer id (the subject), so that order is kept")
    if message.key != meta.customer_id.encode():
        raise Unreadable("key-mismatch", "the Kafka key is not the subject: it must be the customer id")
    return Fact(_event(registration, version, data), meta)


def identity(meta: Meta) -> bytes:
    """The digest under which the inbox keeps (source, id)."""
    return blake2b(f"{meta.source}\0{meta.event_id}".encode(), digest_size=16).digest()


def content(fact: Fact) -> bytes:
    """The digest of what a message says, the same in structured and binary mode: type, customer, time and data."""
    meta, event = fact.meta, fact.data
    said = f"{registry.of(event).name}\0{meta.customer_id}\0{meta.occurred_at.astimezone(UTC).isoformat()}\0".encode()
    return blake2b(said + event.__pydantic_serializer__.to_json(event), digest_size=16).digest()


def structured(fact: Fact) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers of a fact as a structured-mode message."""
    meta = fact.meta
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": meta.event_id,
        "source": meta.source,
        "type": registry.of(fact.data).type,
        "subject": meta.customer_id,
        "time": meta.occurred_at,
        "datacontenttype": "application/json",
        "data": fact.data.model_dump(mode="json", exclude_none=True),
    }
    envelope.update(_extensions(meta))
    return meta.customer_id.encode(), orjson.dumps(envelope), [("content-type", STRUCTURED.encode())]


def binary(fact: Fact) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers of a fact as a binary-mode message."""
    meta = fact.meta
    attributes = {
        "specversion": "1.0",
        "id": meta.event_id,
        "source": meta.source,
        "type": registry.of(fact.data).type,
        "subject": meta.customer_id,
        "time": meta.occurred_at.isoformat(),
        **_extensions(meta),
    }
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    value = fact.data.model_dump_json(exclude_none=True).encode()
    return meta.customer_id.encode(), value, [*headers, ("content-type", b"application/json")]


def _extensions(meta: Meta) -> dict[str, str]:
    known = {
        "correlationid": meta.correlation_id,
        "causationid": meta.causation_id,
        "traceparent": meta.traceparent,
    }
    return {name: value for name, value in known.items() if value is not None}


def _utf8(raw: bytes, name: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Unreadable("not-utf8", f"the header {name[:40]!r} is not UTF-8") from None


def _json_object(value: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Unreadable("bad-json", f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    if not isinstance(parsed, dict):
        raise Unreadable("bad-envelope", "the value is JSON but no object: send one CloudEvent per message")
    return parsed


def _attribute(attributes: Mapping[str, Any], name: str, longest: int = 256) -> str:
    given = attributes.get(name)
    if not isinstance(given, str) or not 1 <= len(given) <= longest or "\0" in given:
        raise Unreadable("bad-envelope", f"the attribute {name} must be a string of 1 to {longest} characters")
    return given


def _registration(attributes: Mapping[str, Any], topic: str) -> tuple[registry.Registration, int]:
    if attributes.get("specversion") != "1.0":
        raise Unreadable("bad-envelope", "the attribute specversion must be 1.0")
    given = _attribute(attributes, "type")
    found = types().get(given)
    version = found.version if found else 0
    if found is None:
        name, _, number = given.removeprefix(registry.TYPE_PREFIX).rpartition(".v")
        found = types().get(f"{registry.TYPE_PREFIX}{name}.v1") or next(
            (r for r in types().values() if r.name == name), None
        )
        if found is None:
            raise Unreadable("unknown-type", f"{given[:80]!r} is not in the catalogue: see `kehu events catalog`")
        if not number.isdecimal() or not 1 <= int(number) < found.version:
            raise Unreadable("unknown-version", f"{name} is known up to version {found.version}, not {number[:10]!r}")
        version = int(number)
    if topic_of(found.name) != topic:
        raise Unreadable("wrong-topic", f"{found.type} belongs to {topic_of(found.name)}")
    if str(attributes.get("datacontenttype", "application/json")).partition(";")[0] != "application/json":
        raise Unreadable("wrong-content-type", "the attribute datacontenttype must be application/json")
    return found, version


def _meta(attributes: Mapping[str, Any], now: datetime, limits: Limits) -> Meta:
    subject = _attribute(attributes, "subject", 64)
    if not _CUSTOMER.fullmatch(subject):
        raise Unreadable("bad-envelope", "the attribute subject must be a customer id without blanks")
    said = _attribute(attributes, "time", 40)
    try:
        occurred_at = datetime.fromisoformat(said)
    except ValueError:
        raise Unreadable("bad-time", "the attribute time must be an RFC 3339 time") from None
    if occurred_at.tzinfo is None:
        raise Unreadable("bad-time", "the attribute time has no zone")
    if not _EARLIEST <= occurred_at <= now + limits.future:
        raise Unreadable("time-out-of-range", f"{said} is before 1900 or more than {limits.future} ahead")
    optional = {
        name: _attribute(attributes, name) if attributes.get(name) is not None else None
        for name in ("correlationid", "causationid", "traceparent")
    }
    return Meta(
        _attribute(attributes, "id"),
        _attribute(attributes, "source"),
        CustomerId(subject),
        occurred_at,
        optional["correlationid"],
        optional["causationid"],
        optional["traceparent"],
    )


def _event(registration: registry.Registration, version: int, data: Any) -> Event:
    try:
        if version < registration.version:
            older = _json_object(data) if isinstance(data, bytes) else data
            data = upcasts.upcast(registration.name, version, registration.version, older)
        if isinstance(data, bytes):
            return registration.event.model_validate_json(data)
        return registration.event.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        if found[0]["type"] == "json_invalid":
            raise Unreadable("bad-json", found[0]["msg"]) from None
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'data'}: {e['msg']}" for e in found[:3])
        raise Unreadable("bad-data", f"{registration.type}: {told}"[:1000]) from None
