"""CloudEvents 1.0 from and to Kafka messages, in both modes. Whatever a channel sends may raise nothing but
Unreadable, with a rule for the tables and a detail that says what to mend; personal values are never echoed.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache, lru_cache
from hashlib import blake2b
from re import compile as pattern
from typing import Any

import orjson
from pydantic import ValidationError

from domain import contracts, handling, registry, upcasts
from domain.ports import Message
from domain.values import CustomerId, Event, Fact, Meta, to_json
from infra.errors import Unreadable
from infra.kafka import envelopes
from infra.kafka.envelopes import STRUCTURED
from infra.kafka.limits import DEFAULT, Limits, check_shape, check_size
from infra.kafka.topics import topic_of

JSON = "application/json"
_STRUCTURED = STRUCTURED.encode()
_BATCH = b"application/cloudevents-batch"
_CUSTOMER = pattern(r"[\w.:/@+-]{1,64}")
_NAME = pattern(r"[a-z0-9]+")
_NUL = pattern(rb"(?<!\\)(?:\\\\)*\\u0000")
_KNOWN = frozenset(
    {
        *("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"),
        *("correlationid", "causationid", "traceparent"),
    }
)


@cache
def types() -> Mapping[str, registry.Registration]:
    """CloudEvents type -> registration, for everything a channel may publish, in its newest version."""
    assert handling.AGGREGATES  # the aggregates register their events when they are imported
    return {r.type: r for r in registry.all_registrations() if r.published}


@cache
def readable() -> Mapping[str, tuple[registry.Registration, int, str]]:
    """CloudEvents type -> (registration, version of the type, topic), older released versions among them."""
    return {
        f"{registry.TYPE_PREFIX}{r.name}.v{version}": (r, version, topic_of(r.name))
        for r in types().values()
        for version in range(1, r.version + 1)
    }


def decode(message: Message, now: datetime, limits: Limits = DEFAULT) -> Fact:
    """The fact in a message; an older version comes as the newest. Raises Unreadable, with source and id if told."""
    fact = envelopes.read(message, now, limits)
    return decode_closely(message, now, limits) if fact is None else fact


def decode_closely(message: Message, now: datetime, limits: Limits = DEFAULT) -> Fact:
    """As `decode`, one attribute after the other, so that each can be told when it is wrong."""
    try:
        return _decoded(message, now, limits)
    except Unreadable as error:
        error.source, error.event_id = _sender(message, limits)
        raise


def _decoded(message: Message, now: datetime, limits: Limits) -> Fact:
    value = message.value
    if value is None:
        raise Unreadable("tombstone", "the value is null: an event cannot be deleted, publish what happened instead")
    check_size(value, message.headers, limits)
    check_shape(value, limits)
    if b"\\u0000" in value and _NUL.search(value):
        raise Unreadable("nul-character", "a string holds the NUL character: remove it")
    attributes, data = _envelope(message, value)
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
    """The digest of what a message says, the same in structured and binary mode: event name, customer, time and data.

    Values that equal their default are left out, so a field that is added later does not change what was said before.
    """
    meta, event = fact.meta, fact.data
    at = meta.occurred_at
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    when = orjson.dumps(at)[1:-1]  # as isoformat() writes it, in a quarter of its time
    said = f"{registry.of(event).name}\0{meta.customer_id}\0".encode()
    return blake2b(b"%b%b\0%b" % (said, when, to_json(event)), digest_size=16).digest()


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
        "data": orjson.Fragment(to_json(fact.data)),
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
    return meta.customer_id.encode(), to_json(fact.data), [*headers, ("content-type", b"application/json")]


def _extensions(meta: Meta) -> dict[str, str]:
    known = {
        "correlationid": meta.correlation_id,
        "causationid": meta.causation_id,
        "traceparent": meta.traceparent,
    }
    return {name: value for name, value in known.items() if value is not None}


def _envelope(message: Message, value: bytes) -> tuple[Mapping[str, Any], Any]:
    """The attributes and the data; the data of a binary message are its bytes."""
    if not message.headers:
        return _structured_envelope(value)
    headers = dict(message.headers)
    content_type = headers.get("content-type")
    if content_type is not None and content_type != _STRUCTURED:
        content_type = content_type.strip().lower()
    if content_type is not None and content_type.startswith(_STRUCTURED):
        return _structured_envelope(value)
    if content_type is not None and content_type.startswith(_BATCH):
        raise Unreadable("batch", "a batch of CloudEvents: send each event as one message, keyed by its customer")
    if "ce_specversion" in headers or "ce_type" in headers:
        return _binary_envelope(message.headers), value
    if content_type is None:
        return _structured_envelope(value)
    raise Unreadable("wrong-content-type", f"{content_type[:60]!r}: send {STRUCTURED}, or binary mode headers")


def _structured_envelope(value: bytes) -> tuple[Mapping[str, Any], Any]:
    attributes = _json_object(value)
    if not attributes.keys() <= _KNOWN:
        _check_extensions(attributes)
    if "data" not in attributes:
        raise Unreadable("bad-envelope", "the attribute data is missing: send the event as a JSON object in data")
    return attributes, attributes["data"]


def _binary_envelope(headers: tuple[tuple[str, bytes | None], ...]) -> Mapping[str, Any]:
    attributes: dict[str, Any] = {}
    for header, raw in headers:
        if header.startswith("ce_"):
            name = header[3:]
        elif header == "content-type":
            name = "datacontenttype"
        else:
            continue
        if raw is None:
            continue  # no value is no attribute
        if name in attributes:
            raise Unreadable("bad-envelope", f"the header {header[:40]!r} comes twice: send it once")
        try:
            attributes[name] = raw.decode()
        except UnicodeDecodeError:
            raise Unreadable("not-utf8", f"the header {header[:40]!r} is not UTF-8") from None
    if not attributes.keys() <= _KNOWN:
        _check_extensions(attributes)
    return attributes


def _check_extensions(attributes: Mapping[str, Any]) -> None:
    """Attributes that are not ours may come along when they are CloudEvents attributes at all; they are not kept."""
    if "data_base64" in attributes:
        raise Unreadable("bad-envelope", "data_base64 is not read: send the event as a JSON object in data")
    for name in attributes.keys() - _KNOWN:
        if not _NAME.fullmatch(name):
            raise Unreadable("bad-envelope", f"{name[:40]!r} is no attribute name: use lower-case letters and digits")
        if isinstance(attributes[name], dict | list):
            raise Unreadable("bad-envelope", f"the attribute {name[:40]} must be a string, a number or a boolean")


def _unreadable_json(value: bytes, said: str) -> Unreadable:
    """Why the parser refused the value."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return Unreadable("not-utf8", f"the byte at {error.start} is not UTF-8: encode the value in UTF-8")
    if "limit" in said:  # of depth
        return Unreadable("too-deep", "objects and arrays are nested too deeply: send the fields of the schema only")
    return Unreadable("bad-json", said)


def _json(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _unreadable_json(value, f"line {error.lineno}, column {error.colno}: {error.msg}") from None


def _json_object(value: bytes) -> dict[str, Any]:
    parsed = _json(value)
    if not isinstance(parsed, dict):
        raise Unreadable("bad-envelope", "the value is JSON but no object: send one CloudEvent per message")
    return parsed


def _attribute(attributes: Mapping[str, Any], name: str, longest: int = 256) -> str:
    given = attributes.get(name)
    if type(given) is not str or not 0 < len(given) <= longest or "\0" in given:
        raise Unreadable("bad-envelope", f"the attribute {name} must be a string of 1 to {longest} characters")
    return given


def _registration(attributes: Mapping[str, Any], topic: str) -> tuple[registry.Registration, int]:
    if attributes.get("specversion") != "1.0":
        raise Unreadable("bad-envelope", "the attribute specversion must be 1.0")
    given = _attribute(attributes, "type")
    known = readable().get(given)
    if known is None:
        raise _unknown(given)
    registration, version, belongs_to = known
    if belongs_to != topic:
        raise Unreadable("wrong-topic", f"{given} belongs to {belongs_to}: publish it there")
    content_type = attributes.get("datacontenttype", JSON)
    if (
        content_type != JSON
        and content_type is not None
        and str(content_type).partition(";")[0].strip().lower() != JSON
    ):
        raise Unreadable("wrong-content-type", f"the data must be {JSON}")
    if attributes.get("dataschema") is not None:
        _attribute(attributes, "dataschema")
    return registration, version


def _unknown(given: str) -> Unreadable:
    """Why a type is not readable: its version, its name, or that it is not for channels to send."""
    name, _, number = given.removeprefix(registry.TYPE_PREFIX).rpartition(".v")
    for registration in registry.all_registrations():
        if registration.name == name and not registration.published:
            return Unreadable("unknown-type", f"{name} follows from other events and cannot be published")
        if registration.name == name:
            newest = registration.version
            return Unreadable("unknown-version", f"{name} is known up to version {newest}, not {number[:10]!r}")
    return Unreadable("unknown-type", f"{given[:80]!r} is not in the catalogue; the closest: {_closest(given[:80])}")


@lru_cache(maxsize=256)
def _closest(given: str) -> str:
    """Kept, since it takes as long as twenty good messages, and a channel that is wrong is wrong many times."""
    return ", ".join(get_close_matches(given, readable())) or "`kehu events catalog` lists all"


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
        raise Unreadable("bad-time", "the attribute time has no zone: add Z or the offset")
    if not envelopes.has_usual_offset(occurred_at):
        raise Unreadable("bad-time", "the offset of the attribute time has seconds: give it as hours and minutes")
    if not limits.earliest <= occurred_at <= now + limits.ahead:
        early = f"before {limits.earliest:%Y-%m-%d}"
        raise Unreadable("time-out-of-range", f"{said} is {early} or more than {limits.ahead} ahead")
    given = attributes.get
    return Meta(
        _attribute(attributes, "id"),
        _attribute(attributes, "source"),
        CustomerId(subject),
        occurred_at,
        None if given("correlationid") is None else _attribute(attributes, "correlationid"),
        None if given("causationid") is None else _attribute(attributes, "causationid"),
        None if given("traceparent") is None else _attribute(attributes, "traceparent"),
    )


def _event(registration: registry.Registration, version: int, data: Any) -> Event:
    try:
        if version < registration.version:
            data = _upcast(registration, version, data)
        if isinstance(data, bytes):
            if (event := contracts.read(registration.event, data)) is not None:
                return event
            data = _json(data)  # by the parser of structured mode, so that both modes accept the same
        return contracts.convert(registration.event, data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        told = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'data'}: {e['msg']}" for e in found[:3])
        raise Unreadable("bad-data", f"{registration.type}: {told}"[:1000]) from None


def _upcast(registration: registry.Registration, version: int, data: Any) -> upcasts.Data:
    """Older data in the newest form. They have not been validated, so a step may stumble over anything."""
    older = _json_object(data) if isinstance(data, bytes) else data
    try:
        return upcasts.upcast(registration.name, version, registration.version, older)
    except Exception as error:
        told = f"{registration.name} version {version}: a field that version needs is missing or of the wrong type"
        raise Unreadable("bad-data", f"{told} ({type(error).__name__})") from None


def _sender(message: Message, limits: Limits) -> tuple[str | None, str | None]:
    """Source and id in a message that cannot be read, as far as its envelope tells them. Raises nothing."""
    try:
        check_size(message.value or b"", message.headers, limits)
        attributes, _ = _envelope(message, message.value or b"")
    except Unreadable:
        return None, None
    return _told(attributes, "source"), _told(attributes, "id")


def _told(attributes: Mapping[str, Any], name: str) -> str | None:
    try:
        return _attribute(attributes, name)
    except Unreadable:
        return None
