"""The short way from bytes to a fact and the close look say the same, or the short way says nothing."""

from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from domain import contracts, registry
from domain.ports import Message, Partition
from domain.values import Event, Fact, Frozen, Id, to_json
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


NAMED = {one.topic: one for one in PUBLISHED}
TEXTS = (
    *(
        "null",
        "true",
        "0",
        "-0",
        "1.0",
        "1e0",
        "3",
        "3.0",
        "300e-2",
        "1" + "0" * 20,
        "1" + "0" * 45,
        "NaN",
        "01",
        "1772359200",
    ),
    *(
        '""',
        '"1"',
        '"e1"',
        '"\\u0065\\u0031"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        '"\\u0000"',
        '"\\\\u0000"',
        '"a\\/b"',
        '"\n"',
    ),
    *('"北京"', '"क्ष"', '"é"', '"e\u0301"', '"ａ１"', '"٣"', '"a²"', '"\u200b"', '"\ufeff"', '"e1 "', '"1772359200"'),
    *('"2026-03-02T11:00:00.9999999Z"', '"2026-03-02T11:00:00,5Z"', '"2026-03-02T11:00:00z"', '"20260302T110000Z"'),
    *('"2026-03-02T11:00:00+01:00:30"', '"2026-03-02T11:00:00-00:00"', '"2026-03-02 11:00Z"', '"2026-03-02T11:00:00"'),
    *(
        '"9999-12-31T23:59:59.9999999Z"',
        '"0001-01-01T00:00:00+23:59"',
        '"kehu.survey.invited.v1"',
        '"application/json"',
    ),
    *("{}", "[]", '["card"]', '{"minor":1,"currency":"EUR"}', '{"minor":1.0,"currency":"EUR","minor":1}'),
)
"""Values as they may be written."""


@st.composite
def objects(draw: st.DrawFn, said: dict[str, str]) -> str:
    """An object with these members in any order, some of them more than once, with names and blanks as JSON allows."""
    members = [*said.items(), *draw(st.lists(st.tuples(st.sampled_from([*said, "unheard"]), texts(said)), max_size=2))]
    blank = draw(st.sampled_from(["", "", " ", "\n\t\r", "\f", "\ufeff"]))
    written = [f'"{draw(st.sampled_from([name, name, escaped(name)]))}"{blank}:{text}' for name, text in members]
    return "{" + f",{blank}".join(draw(st.permutations(written))) + "}"


def texts(said: dict[str, str]) -> st.SearchStrategy[str]:
    return st.sampled_from([*said.values(), *TEXTS])


def escaped(name: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in name)


def texts_of(said: dict[str, Any]) -> dict[str, str]:
    return {name: orjson.dumps(value).decode() for name, value in said.items()}


@given(golden=st.sampled_from(PUBLISHED), data=st.data())
def test_however_an_object_is_written_both_ways_read_the_same(golden: Golden, data: st.DataObject) -> None:
    inner = data.draw(objects(texts_of(golden.data)))
    value = data.draw(objects({**texts_of(golden.event), "data": inner}))
    value += data.draw(st.sampled_from(["", "", " \n", "\0", "}", "x", "\u00a0"]))
    one = replace(message(golden, golden.event), value=value.encode())
    if (fact := envelopes.read(one, NOON, DEFAULT)) is not None:
        assert fact == closely(one)


@given(golden=st.sampled_from(PUBLISHED), data=st.data())
def test_both_modes_read_the_same_from_the_same_data(golden: Golden, data: st.DataObject) -> None:
    inner = data.draw(objects(texts_of(golden.data)))
    whole = message(golden, golden.event)
    value = orjson.dumps({**golden.event, "data": orjson.Fragment(inner)})
    key, _, headers = codec.binary(codec.decode(whole, NOON))
    modes = (replace(whole, value=value), replace(whole, key=key, value=inner.encode(), headers=tuple(headers)))
    assert outcome(modes[0]) == outcome(modes[1])


def outcome(one: Message) -> Fact | str:
    try:
        return codec.decode(one, NOON)
    except Unreadable as error:
        return error.rule


def written(topic: str, data: str = "", before: str = "", after: str = "", **changed: str) -> Message:
    """A golden message with members put before and after those of its envelope, or behind those of its data."""
    golden = NAMED[topic]
    said = texts_of(golden.data)
    inner = ",".join([*(f'"{name}":{text}' for name, text in said.items()), *([data] if data else [])])
    envelope = {**texts_of(golden.event), "data": f"{{{inner}}}", **changed}
    members = [*([before] if before else []), *(f'"{name}":{text}' for name, text in envelope.items())]
    value = ",".join([*members, *([after] if after else [])])
    return replace(message(golden, golden.event), value=f"{{{value}}}".encode())


SURVEY, COMPLAINT = "survey.answered.v1", "complaint.opened.v1"


@pytest.mark.parametrize(
    ("one", "rule"),
    [
        (replace(good := written(SURVEY), value=b"\xef\xbb\xbf" + (good.value or b"")), "bad-json"),
        (replace(good, value=(good.value or b"") + b"\0"), "bad-json"),
        (written(SURVEY, id='"\\ud800"'), "bad-json"),
        (written(SURVEY, id='"\\u0000"'), "nul-character"),
        (written(SURVEY, id='""'), "bad-envelope"),
        (written(SURVEY, id="null"), "bad-envelope"),
        (written(SURVEY, correlationid='""'), "bad-envelope"),
        (written(SURVEY, subject='"e\u0301"'), "bad-envelope"),
        (replace(written(SURVEY, subject='"é"'), key="e\u0301".encode()), "key-mismatch"),
        (written(SURVEY, time='"2026-03-02T11:00:00+01:00:30"'), "bad-time"),
        (written(SURVEY, time='"2026-03-02T11:00:00+01:00:00.5"'), "bad-time"),
        (written(SURVEY, time='"2026-03-02T11:00:00"'), "bad-time"),
        (written(SURVEY, time='"2026-03-02"'), "bad-time"),
        (written(SURVEY, time="1772359200"), "bad-envelope"),
        (written(SURVEY, '"score":3.0'), "bad-data"),
        (written(SURVEY, '"score":3e0'), "bad-data"),
        (written(SURVEY, '"score":true'), "bad-data"),
        (written(SURVEY, '"score":1' + "0" * 30), "bad-data"),
        (written(SURVEY, '"score":3.' + "0" * 50), "number-too-long"),
        (written(SURVEY, after='"type":"kehu.survey.invited.v1"'), "bad-data"),
        (written(COMPLAINT, '"received_at":1772359200'), "bad-data"),
        (written(COMPLAINT, '"received_at":"1772359200"'), "bad-data"),
        (written(COMPLAINT, '"received_at":"20260301"'), "bad-data"),
        (written("transaction.posted.v1", '"booked_on":0'), "bad-data"),
        (written("transaction.posted.v1", '"booked_on":"20260301"'), "bad-data"),
    ],
    ids=lambda given: given if isinstance(given, str) else None,
)
def test_what_says_nothing_certain_is_refused(one: Message, rule: str) -> None:
    assert outcome(one) == rule
    assert envelopes.read(one, NOON, DEFAULT) is None


@pytest.mark.parametrize(
    ("one", "where", "said"),
    [
        (written(SURVEY, after='"id":"later"'), "event_id", "later"),
        (written(SURVEY, before='"id":"earlier"'), "event_id", NAMED[SURVEY].event["id"]),
        (written(SURVEY, after='"\\u0069d":"later"'), "event_id", "later"),
        (written(SURVEY, before='"type":"kehu.survey.invited.v1"'), "event_id", NAMED[SURVEY].event["id"]),
        (written(SURVEY, before='"data":{"score":1.5}'), "event_id", NAMED[SURVEY].event["id"]),
        (written(SURVEY, id='"\\ud83d\\ude00"'), "event_id", "\U0001f600"),
        (written(SURVEY, id='"\\\\u0000"'), "event_id", "\\u0000"),
        (written(SURVEY, correlationid="null"), "correlation_id", None),
        (replace(written(SURVEY, subject='"北京"'), key="北京".encode()), "customer_id", "北京"),
        (
            written(SURVEY, time='"2026-03-02T11:00:00.9999999Z"'),
            "occurred_at",
            datetime(2026, 3, 2, 11, 0, 0, 999999, UTC),
        ),
        (written(SURVEY, time='"2026-03-02T10:59:00+23:59"'), "occurred_at", datetime(2026, 3, 1, 11, tzinfo=UTC)),
        (written(SURVEY, time='"2026-03-02T11:00:00-00:00"'), "occurred_at", datetime(2026, 3, 2, 11, tzinfo=UTC)),
    ],
)
def test_of_what_is_said_twice_or_in_another_way_both_read_the_same(one: Message, where: str, said: object) -> None:
    fact = codec.decode(one, NOON)
    assert getattr(fact.meta, where) == said
    assert fact == closely(one)


def test_of_data_that_are_said_twice_the_later_count() -> None:
    one = written(SURVEY, '"score":1,"sco\\u0072e":-0')
    fact = envelopes.read(one, NOON, DEFAULT)
    assert fact is not None
    assert getattr(fact.data, "score", None) == 0
    assert fact == closely(one)


@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_a_default_is_left_out_however_it_was_read(golden: Golden) -> None:
    kind = registry.named(registry.split_topic(golden.topic)[0]).event
    defaults = {one.name: one.default for one in fields(kind) if not one.required and one.default is not None}
    required = {one.name: golden.data[one.name] for one in fields(kind) if one.required}
    spelled_out = orjson.dumps({**required, **defaults})
    read = contracts.read(kind, spelled_out)
    assert read is None or orjson.loads(to_json(read)) == required
    assert orjson.loads(to_json(contracts.convert(kind, orjson.loads(spelled_out)))) == required
    names = {"contact_id", "complaint_id", "invitation_id"} & required.keys()
    elsewhere: dict[str, object] = {**required, **dict.fromkeys(names, "\u0915\u094d")}
    assert orjson.loads(to_json(contracts.convert(kind, {**elsewhere, **defaults}))) == elsewhere


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


def test_every_id_is_looked_at() -> None:
    """An id in a list or in a value of its own would be passed over by `contracts.has_usual_ids`."""
    for registration in registry.all_registrations():
        for name, hint in get_type_hints(registration.event, include_extras=True).items():
            assert Id not in get_args(hint) or get_origin(hint) is not tuple, f"{registration.name}: {name}"
        for inner in _structs(registration.event):
            assert Id not in get_type_hints(inner, include_extras=True).values()
