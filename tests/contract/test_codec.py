"""The contract with the channels: CloudEvents in both modes, also from the SDK; the rest is refused by a rule."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from domain import registry, upcasts
from domain.ports import Message, Partition
from domain.survey import SurveyInvited
from domain.values import Event, Fact
from infra.errors import Unreadable
from infra.kafka import codec, envelopes
from infra.kafka.topics import topic_of
from tests.support.builders import NOON, SURVEYS, fact, said
from tests.support.golden import PUBLISHED, Golden

Encoded = tuple[bytes, bytes, list[tuple[str, bytes]]]
INVITED = fact(SurveyInvited(invitation_id="i", metric="nps", scale=10, channel="app", branch="北京"))


def as_message(encoded: Encoded, topic: str = "kehu.surveys") -> Message:
    key, value, headers = encoded
    return Message(replace(SURVEYS, topic=topic), 0, 0, key, value, tuple(headers))


def envelope(**changes: object) -> Message:
    """A good structured message with changed attributes; None removes one."""
    good = orjson.loads(codec.structured(INVITED)[1])
    value = {name: given for name, given in {**good, **changes}.items() if given is not None}
    return as_message((b"c1", orjson.dumps(value), []))


@pytest.mark.parametrize("mode", [codec.structured, codec.binary])
def test_both_modes_say_the_same(mode: Callable[[Fact], Encoded]) -> None:
    decoded = codec.decode(as_message(mode(INVITED)), NOON)
    assert decoded == INVITED
    assert codec.content(decoded) == codec.content(INVITED)


@pytest.mark.parametrize("make", [sdk.to_structured_event, sdk.to_binary_event])
@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_messages_of_the_official_sdk_are_accepted(golden: Golden, make: Callable[..., sdk.KafkaMessage]) -> None:
    attributes = {name: value for name, value in golden.event.items() if name != "data"}
    attributes["time"] = datetime.fromisoformat(attributes["time"])
    made = make(
        CloudEvent({**attributes, "tenant": "north"}, golden.data), key_mapper=lambda event: event.get_subject()
    )
    partition = replace(SURVEYS, topic=topic_of(golden.topic))
    decoded = codec.decode(
        Message(partition, 0, 0, str(made.key).encode(), made.value, tuple(made.headers.items())), NOON
    )
    assert {**said(decoded.data), **golden.data} == said(decoded.data)
    assert decoded.meta.occurred_at == attributes["time"]
    assert decoded.meta.traceparent == attributes["traceparent"]


def wrongly_said(fields: dict[str, Any], word: str) -> Iterator[dict[str, Any]]:
    """The fields, with a word in each place where a value stands, as it is and where it does not belong."""
    for name, value in fields.items():
        yield from ({**fields, name: wrong} for wrong in (word, [word], {"first": word}))
        if isinstance(value, dict):
            yield from ({**fields, name: wrong} for wrong in wrongly_said(value, word))
    yield {**fields, "unknown": word}


@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_why_a_message_is_refused_repeats_no_value_of_its_data(golden: Golden) -> None:
    """The reason is kept and published in the clear, and what is said in the data may be personal."""
    reasons = []
    for data in wrongly_said(golden.data, "Zaphod"):
        value = orjson.dumps({**golden.event, "data": data})
        try:
            codec.decode(as_message((golden.key, value, []), topic_of(golden.topic)), NOON)
        except Unreadable as error:
            reasons.append(error.detail)
    assert len(reasons) > len(golden.data)
    assert [one for one in reasons if "Zaphod" in one] == []


@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_both_modes_of_every_type_have_the_same_identity_and_content(golden: Golden) -> None:
    topic = topic_of(golden.topic)
    first = codec.decode(as_message((golden.key, orjson.dumps(golden.event), []), topic), NOON)
    for mode in (codec.structured, codec.binary):
        again = codec.decode(as_message(mode(first), topic), NOON)
        assert again == first
        assert codec.identity(again.meta) == codec.identity(first.meta)
        assert codec.content(again) == codec.content(first)


def test_content_is_what_is_said_and_not_how() -> None:
    first = codec.content(codec.decode(envelope(), NOON))
    spelled_out = {
        "invitation_id": "i",
        "metric": "nps",
        "scale": 10,
        "channel": "app",
        "branch": "北京",
        "owner": None,
    }
    assert codec.content(codec.decode(envelope(data=spelled_out, traceparent="00-1"), NOON)) == first
    assert codec.content(codec.decode(envelope(time="2026-03-02T13:00:00+01:00"), NOON)) == first
    assert codec.content(codec.decode(envelope(time="2026-03-02T12:00:01Z"), NOON)) != first
    assert codec.content(codec.decode(envelope(data={**spelled_out, "channel": "sms"}), NOON)) != first


@given(st.datetimes(datetime(1900, 1, 1), datetime(2999, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_content_is_the_digest_of_name_customer_time_and_data(at: datetime) -> None:
    begin = f"survey.invited\0c1\0{at.astimezone(UTC).isoformat()}\0".encode()
    data = b'{"branch":"\xe5\x8c\x97\xe4\xba\xac","invitation_id":"i","metric":"nps","scale":10,"channel":"app"}'
    one = replace(INVITED, meta=replace(INVITED.meta, occurred_at=at))
    assert codec.content(one) == blake2b(begin + data, digest_size=16).digest()


def test_a_field_that_is_added_later_does_not_change_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wider(SurveyInvited):
        mood: str | None = None

    classes: dict[type[Event], registry.Registration] = {Wider: registry.named("survey.invited")}
    monkeypatch.setattr(registry, "_by_class", {**registry._by_class, **classes})
    assert codec.content(replace(INVITED, data=Wider(**asdict(INVITED.data)))) == codec.content(INVITED)


@pytest.mark.parametrize("mode", [codec.structured, codec.binary])
def test_an_older_version_is_read_as_the_newest(
    mode: Callable[[Fact], Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = as_message(mode(INVITED))
    newest = dataclasses.replace(registry.named("survey.invited"), version=2)
    monkeypatch.setitem(registry._by_name, "survey.invited", newest)
    monkeypatch.setitem(upcasts.UPCASTS, ("survey.invited", 1), lambda data: {**data, "channel": data["channel"] * 2})
    for table in (codec.types, codec.readable, envelopes.kinds):
        table.cache_clear()
    try:
        decoded = codec.decode(older, NOON)
        broken = envelope(data={"invitation_id": "i"})
        with pytest.raises(Unreadable, match=r"survey\.invited version 1: a field"):
            codec.decode(broken, NOON)
    finally:
        monkeypatch.undo()
        for table in (codec.types, codec.readable, envelopes.kinds):
            table.cache_clear()
    assert said(decoded.data)["channel"] == "appapp"


@pytest.mark.parametrize(
    "content_type", [b"application/cloudevents+json; charset=UTF-8", b"Application/CloudEvents+JSON"]
)
def test_the_content_type_may_have_parameters_and_capitals(content_type: bytes) -> None:
    key, value, _ = codec.structured(INVITED)
    assert codec.decode(as_message((key, value, [("content-type", content_type)])), NOON) == INVITED


def test_a_text_about_the_nul_escape_is_no_nul_character() -> None:
    data = {"invitation_id": "i", "metric": "nps", "scale": 10, "channel": "\\u0000"}
    assert said(codec.decode(envelope(data=data), NOON).data)["channel"] == "\\u0000"


def binary(value: bytes = b"{}", **changes: bytes | None) -> Message:
    """A good binary message with changed headers; None removes one, `_` stands for a hyphen in `content_type`."""
    key, _, headers = codec.binary(INVITED)
    changed = {name.replace("content_type", "content-type"): given for name, given in changes.items()}
    made = {name: given for name, given in {**dict(headers), **changed}.items() if given is not None}
    return as_message((key, value, list(made.items())))


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (as_message((b"c1", b"{", [])), "bad-json"),
        (as_message((b"c1", b"[]", [])), "bad-envelope"),
        (as_message((b"c1", b"\xff", [])), "not-utf8"),
        (replace(as_message((b"c1", b"", [])), value=None), "tombstone"),
        (as_message((b"c1", b" " * (1024 * 1024 + 1), [])), "too-large"),
        (as_message((b"c1", b"{}", [("a", b"")] * 65)), "too-many-headers"),
        (as_message((b"c1", b"{}", [("content-type", b"text/plain")])), "wrong-content-type"),
        (as_message((b"c1", b"{}", [("ce_type", b"\xff")])), "not-utf8"),
        (as_message(codec.structured(INVITED), "kehu.contacts"), "wrong-topic"),
        (replace(as_message(codec.structured(INVITED)), key=None), "key-missing"),
        (replace(as_message(codec.structured(INVITED)), key=b"c2"), "key-mismatch"),
        (envelope(specversion="0.3"), "bad-envelope"),
        (envelope(id=None), "bad-envelope"),
        (envelope(source=""), "bad-envelope"),
        (envelope(subject="a b"), "bad-envelope"),
        (envelope(data=None), "bad-envelope"),
        (envelope(type="kehu.survey.lost.v1"), "unknown-type"),
        (envelope(type="kehu.survey.scored.v1"), "unknown-type"),
        (envelope(type="kehu.survey.invited.v2"), "unknown-version"),
        (envelope(time="yesterday"), "bad-time"),
        (envelope(time="2026-03-02T12:00:00"), "bad-time"),
        (envelope(time="9999-12-31T00:00:00Z"), "time-out-of-range"),
        (envelope(time=(NOON + timedelta(hours=25)).isoformat()), "time-out-of-range"),
        (envelope(datacontenttype="text/xml"), "wrong-content-type"),
        (envelope(data={"invitation_id": "i\0"}), "nul-character"),
        (envelope(data={"invitation_id": "i", "unknown": 1}), "bad-data"),
        (envelope(data=[]), "bad-data"),
        (envelope(type="kehu.survey.invited.v0"), "unknown-version"),
        (envelope(type="kehu.survey.invited.vX"), "unknown-version"),
        (envelope(type="kehu.survey.invited"), "unknown-type"),
        (envelope(type=7), "bad-envelope"),
        (envelope(subject="c" * 65), "bad-envelope"),
        (envelope(time="1899-12-31T23:59:59Z"), "time-out-of-range"),
        (envelope(time=None), "bad-envelope"),
        (envelope(traceparent=["a"]), "bad-envelope"),
        (envelope(dataschema=""), "bad-envelope"),
        (envelope(Tenant="north"), "bad-envelope"),
        (envelope(tenant={"name": "north"}), "bad-envelope"),
        (envelope(data=None, data_base64="e30="), "bad-envelope"),
        (as_message((b"c1", DEEP, [])), "too-deep"),
        (as_message((b"c1", b'"' + "ü".encode("latin-1") + b'"', [])), "not-utf8"),
        (as_message((b"c1", b"[]", [("content-type", b"application/cloudevents-batch+json")])), "batch"),
        (as_message((b"c1", b"", [("content-type", b"application/cloudevents+avro")])), "wrong-content-type"),
        (as_message((b"c1", b"", [])), "bad-json"),
        (binary(b""), "bad-json"),
        (binary(b"{"), "bad-json"),
        (binary(b'"\xff"'), "not-utf8"),
        (binary(b"{}"), "bad-data"),
        (binary(DEEP), "too-deep"),
        (binary(ce_id=b"a\0b"), "bad-envelope"),
        (binary(ce_id=None), "bad-envelope"),
        (binary(ce_Tenant=b"north"), "bad-envelope"),
        (binary(content_type=b"text/xml"), "wrong-content-type"),
        (as_message((b"c1", b"{}", [("ce_type", b"a"), ("ce_type", b"b")])), "bad-envelope"),
    ],
)
def test_what_cannot_be_read_is_refused_by_a_rule(message: Message, rule: str) -> None:
    with pytest.raises(Unreadable) as refused:
        codec.decode(message, NOON)
    assert refused.value.rule == rule


def test_an_unknown_type_lists_the_closest() -> None:
    with pytest.raises(Unreadable, match=r"kehu\.survey\.invited\.v1"):
        codec.decode(envelope(type="kehu.survey.invted.v1"), NOON)


def test_a_derived_event_cannot_be_published() -> None:
    with pytest.raises(Unreadable, match="follows from other events"):
        codec.decode(envelope(type="kehu.survey.scored.v1"), NOON)


def test_a_refusal_does_not_echo_what_the_customer_said() -> None:
    with pytest.raises(Unreadable) as refused:
        codec.decode(envelope(data={"invitation_id": "i", "metric": "my secret"}), NOON)
    assert "secret" not in refused.value.detail
    assert "metric" in refused.value.detail


_names = st.sampled_from(["content-type", "ce_specversion", "ce_type", "ce_id", "ce_time", "ce_subject", "x"])
_values = st.one_of(st.binary(max_size=40), st.sampled_from([b"1.0", b"kehu.survey.invited.v1", b"c1"]))
_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=10) | st.integers(-(2**60), 2**60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_changes = st.dictionaries(
    st.sampled_from(
        ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "traceparent"]
    ),
    _json,
    max_size=3,
)


@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=4), st.lists(st.tuples(_names, _values)))
def test_any_bytes_are_read_or_refused(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    message = Message(Partition("kehu.surveys", "t", 0), 0, 0, key, value, tuple(headers))
    assert _read_or_refused(message)


@given(_changes)
def test_any_envelope_is_read_or_refused(changes: dict[str, object]) -> None:
    assert _read_or_refused(envelope(**changes))


@given(st.sampled_from(PUBLISHED), st.data(), _json, st.booleans())
def test_any_data_is_read_or_refused(golden: Golden, draw: st.DataObject, given_value: object, in_binary: bool) -> None:
    field = draw.draw(st.sampled_from([*golden.data, "unheard_of"]))
    data = {**golden.data, field: given_value}
    topic = topic_of(golden.topic)
    value, headers = orjson.dumps({**golden.event, "data": data}), []
    if in_binary:
        value = orjson.dumps(data)
        headers = [(f"ce_{name}", str(one).encode()) for name, one in golden.event.items() if name != "data"]
    assert _read_or_refused(as_message((golden.key, value, headers), topic))


def _read_or_refused(message: Message) -> bool:
    try:
        return isinstance(codec.decode(message, datetime(2026, 3, 2, tzinfo=UTC)), Fact)
    except Unreadable as refused:
        return bool(refused.rule and refused.detail)


def test_a_header_without_a_value_is_no_attribute() -> None:
    key, value, headers = codec.binary(INVITED)
    told = tuple((name, None if name == "content-type" else raw) for name, raw in headers)
    with_null = Message(
        SURVEYS, 0, 0, key, value, (("ce_correlationid", None), *told, ("ce_causationid", b"c-1"), ("x", None))
    )
    meta = codec.decode(with_null, NOON).meta
    assert (meta.correlation_id, meta.causation_id) == (None, "c-1")
    without_type = tuple((name, None if name == "ce_type" else raw) for name, raw in headers)
    with pytest.raises(Unreadable, match="the attribute type must be"):
        codec.decode(Message(SURVEYS, 0, 0, key, value, without_type), NOON)
