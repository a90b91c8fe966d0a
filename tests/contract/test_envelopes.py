"""The short way from bytes to a fact and the close look say the same, or the short way says nothing."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from domain import contracts, registry
from domain.ports import Message, Partition
from domain.values import Event, Frozen, to_json
from infra.errors import Unreadable
from infra.kafka import codec, envelopes
from infra.kafka.limits import DEFAULT
from infra.kafka.topics import topic_of
from tests.support.builders import NOON
from tests.support.golden import PUBLISHED, Golden

IDS = ("e1", "", "x" * 257, "北京", "a\n", "a\0", " ", "a²", "\u0915\u094d", 1, None)
VALUES = st.one_of(
    st.sampled_from([*IDS, "2026-03-02T11:00:00.1234567Z", "2026-03-02", "9999-12-31T23:59:59Z", "1.0", "other"]),
    st.sampled_from([True, 0, -1, 3, 5, 10, 1.0, 10**16, [], ["card"], {}, {"minor": 1, "currency": "EUR"}]),
    st.text(max_size=5),
)


def message(golden: Golden, said: dict[str, Any]) -> Message:
    key = str(said.get("subject")).encode()
    return Message(Partition(topic_of(golden.topic), "t", 0), 0, 0, key, orjson.dumps(said))


def closely(one: Message) -> object:
    try:
        return codec.decode_closely(one, NOON)
    except Unreadable as error:
        return error.rule


@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_the_short_way_reads_every_type(golden: Golden) -> None:
    one = message(golden, golden.event)
    assert envelopes.read(one, NOON, DEFAULT) == closely(one) is not None


@given(golden=st.sampled_from(PUBLISHED), data=st.data())
def test_what_the_short_way_reads_the_close_look_reads_the_same(golden: Golden, data: st.DataObject) -> None:
    said = {**golden.event, "data": dict(golden.data)}
    for where in (said, said["data"]):
        names = st.sampled_from([*where, "unheard"])
        for name in data.draw(st.lists(names, max_size=2)):
            where[name] = data.draw(VALUES)
    one = message(golden, said)
    if (fact := envelopes.read(one, NOON, DEFAULT)) is not None:
        assert fact == closely(one)
        assert to_json(fact.data) == to_json(codec.decode_closely(one, NOON).data)


@pytest.mark.parametrize(
    "change",
    [
        {"key": b"c-2"},
        {"key": None},
        {"value": None},
        {"headers": (("ce_id", b"1"),)},
        {"partition": Partition("kehu.contacts", "t", 0)},
        {"value": b'{"a": "\\u0000"}'},
        {"value": b"{" * 2000},
        {"value": b"\xff"},
    ],
)
def test_what_is_unusual_is_looked_at_closely(change: dict[str, Any]) -> None:
    golden = next(one for one in PUBLISHED if one.topic == "survey.invited.v1")
    assert envelopes.read(replace(message(golden, golden.event), **change), NOON, DEFAULT) is None


@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_a_default_is_left_out_however_it_was_read(golden: Golden) -> None:
    kind = registry.named(registry.split_topic(golden.topic)[0]).event
    defaults = {one.name: one.default for one in fields(kind) if not one.required and one.default is not None}
    required = {one.name: golden.data[one.name] for one in fields(kind) if one.required}
    spelled_out = orjson.dumps({**required, **defaults})
    assert orjson.loads(to_json(contracts.read(kind, spelled_out))) == required
    assert orjson.loads(to_json(contracts.convert(kind, orjson.loads(spelled_out)))) == required
    names = {"contact_id", "complaint_id", "invitation_id"} & required.keys()
    elsewhere: dict[str, object] = {**required, **dict.fromkeys(names, "\u0915\u094d")}
    assert orjson.loads(to_json(contracts.read(kind, orjson.dumps({**elsewhere, **defaults})))) == elsewhere


def test_no_event_is_nested_deeper_than_any_limit_allows() -> None:
    """The short way does not count brackets: what it reads is an envelope, its data, and one level more."""
    for registration in registry.all_registrations():
        for inner in _structs(registration.event):
            assert not list(_structs(inner)), f"{registration.name} is nested deeper: count in infra.kafka.envelopes"


def _structs(kind: type[Event] | type[Frozen]) -> list[type[Frozen]]:
    found = []
    for hint in get_type_hints(kind).values():
        if get_origin(hint) is Literal:
            continue
        found += [one for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, Frozen)]
    return found


def test_no_number_is_longer_than_any_limit_allows() -> None:
    """Nor does it count digits: whole numbers are bounded, and there are no others."""
    for registration in registry.all_registrations():
        if registration.published:
            schema = msgspec.json.schema(registration.event)
            assert '"number"' not in str(schema).replace("'", '"')
