"""The contract with the channels: CloudEvents in both modes, also from the SDK; the rest is refused by a rule."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ports import Message, Partition
from domain.survey import SurveyInvited
from domain.values import Fact
from infra.errors import Unreadable
from infra.kafka import codec
from tests.support.builders import NOON, SURVEYS, fact

Encoded = tuple[bytes, bytes, list[tuple[str, bytes]]]
INVITED = fact(SurveyInvited(invitation_id="i", metric="nps", scale=10, channel="app", branch="北京"))


def as_message(encoded: tuple[bytes, bytes, list[tuple[str, bytes]]], topic: str = "kehu.surveys") -> Message:
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


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_messages_of_the_official_sdk_are_accepted(mode: str) -> None:
    from cloudevents.core.bindings import kafka as sdk
    from cloudevents.core.v1.event import CloudEvent

    event = CloudEvent(
        {
            "id": "e1",
            "source": "/test",
            "type": "kehu.survey.invited.v1",
            "subject": "c1",
            "time": NOON,
            "specversion": "1.0",
            "datacontenttype": "application/json",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
        INVITED.data.model_dump(mode="json", exclude_none=True),
    )
    make = sdk.to_structured_event if mode == "structured" else sdk.to_binary_event
    made = make(event)
    headers = tuple((name, value) for name, value in made.headers.items())
    decoded = codec.decode(Message(SURVEYS, 0, 0, b"c1", made.value, headers), NOON)
    assert decoded.data == INVITED.data
    assert decoded.meta.occurred_at == NOON
    assert decoded.meta.traceparent is not None


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
    ],
)
def test_what_cannot_be_read_is_refused_by_a_rule(message: Message, rule: str) -> None:
    with pytest.raises(Unreadable) as refused:
        codec.decode(message, NOON)
    assert refused.value.rule == rule


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


def _read_or_refused(message: Message) -> bool:
    try:
        return isinstance(codec.decode(message, datetime(2026, 3, 2, tzinfo=UTC)), Fact)
    except Unreadable as refused:
        return bool(refused.rule and refused.detail)
