"""What a message may be at most: each limit is a setting, and what is beyond it dies with a reason that names it."""

import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from msgspec.structs import replace

from domain.ports import Message
from domain.survey import SurveyInvited
from infra import bootstrap, settings
from infra.errors import Unreadable
from infra.kafka import codec
from infra.kafka.limits import Limits
from infra.settings import Accepted, WrongSettings
from tests.support.builders import NOON, SURVEYS, fact
from tests.support.project import ROOT

SMALL = Limits(
    value_bytes=2000,
    headers=4,
    header_bytes=200,
    nesting=5,
    digits=20,
    ahead=timedelta(hours=1),
    earliest=datetime(2020, 1, 1, tzinfo=UTC),
)
GOOD = orjson.loads(codec.structured(fact(SurveyInvited(invitation_id="i", metric="nps", scale=10, channel="app")))[1])


def raw(value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> Message:
    return Message(SURVEYS, 0, 0, b"c1", value, headers)


def test_the_header_that_a_replay_adds_does_not_count() -> None:
    full = tuple((f"h{n}", b"x" * 40) for n in range(SMALL.headers))
    value = orjson.dumps(GOOD)
    codec.decode(raw(value, full), NOON, SMALL)
    codec.decode(raw(value, (*full, ("kehu-dead-letter", b"17"))), NOON, SMALL)
    for more in ((("kehu-dead-letter", b"17"),) * 2, (("kehu-dead-letter", b"x" * 100),), (("other", b"17"),)):
        with pytest.raises(Unreadable, match="too-many-headers"):
            codec.decode(raw(value, (*full, *more)), NOON, SMALL)


def envelope(**changes: object) -> Message:
    return raw(orjson.dumps({**GOOD, **changes}))


def nested(depth: int, text: str = "") -> Message:
    """The good event with an attribute that holds arrays in each other; the event itself is one object."""
    return raw(orjson.dumps(GOOD)[:-1] + b',"deep":' + b"[" * (depth - 1) + text.encode() + b"]" * (depth - 1) + b"}")


def number(digits: int) -> Message:
    return raw(orjson.dumps(GOOD)[:-1] + b',"n":' + b"7" * digits + b"}")


@pytest.mark.parametrize(
    ("message", "rule", "told"),
    [
        (envelope(dataschema="x" * 2000), "too-large", "2000"),
        (raw(orjson.dumps(GOOD), (("a", b""),) * 5), "too-many-headers", "4"),
        (raw(orjson.dumps(GOOD), (("a", b"x" * 200),)), "headers-too-large", "200"),
        (raw(orjson.dumps(GOOD), (("x" * 201, b""),)), "headers-too-large", "200"),
        (nested(6), "too-deep", "5"),
        (number(21), "number-too-long", "20"),
        (envelope(time=(NOON + timedelta(hours=2)).isoformat()), "time-out-of-range", "1:00:00"),
        (envelope(time="2019-12-31T23:59:59Z"), "time-out-of-range", "2020-01-01"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_the_limit(message: Message, rule: str, told: str) -> None:
    with pytest.raises(Unreadable) as refused:
        codec.decode(message, NOON, SMALL)
    assert refused.value.rule == rule
    assert told in refused.value.detail


@pytest.mark.parametrize(
    "message",
    [
        raw(orjson.dumps(GOOD), (("a", b""),) * 4),
        raw(orjson.dumps(GOOD), (("a", b"x" * 199),)),
        number(20),
        envelope(time=(NOON + timedelta(hours=1)).isoformat()),
        envelope(time="2020-01-01T00:00:00Z"),
        envelope(tenant="[" * 50 + "{" * 50 + '"' + "[" * 50),
        envelope(tenant="account " + "7" * 50),
        envelope(tenant='\\"' + "7" * 50),
    ],
)
def test_what_is_within_the_limits_is_accepted(message: Message) -> None:
    assert codec.decode(message, NOON, SMALL).meta.event_id == "e1"


def test_what_is_nested_as_deeply_as_allowed_is_refused_for_another_reason_only() -> None:
    with pytest.raises(Unreadable) as refused:
        codec.decode(nested(5, '"[[[[[["'), NOON, SMALL)
    assert refused.value.rule == "bad-envelope"


def test_every_limit_is_a_setting_with_the_same_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bootstrap.limits(settings.accepted()) == Limits()
    given = dict(
        zip(Accepted.model_fields, ("2048", "16", "1024", "4", "20", "PT1H", "2020-01-01T00:00:00Z"), strict=True)
    )
    for name, value in given.items():
        monkeypatch.setenv(f"KEHU_{name.upper()}", value)
    made = bootstrap.limits(settings.accepted())
    assert made == Limits(2048, 16, 1024, 4, 20, timedelta(hours=1), datetime(2020, 1, 1, tzinfo=UTC))
    assert [one.name for one in fields(Limits) if getattr(made, one.name) == getattr(Limits(), one.name)] == []
    page = (ROOT / "docs" / "howto" / "run-on-real-servers.md").read_text(encoding="utf-8")
    assert set(re.findall(r"KEHU_(?:MAX_\w+|EARLIEST)", page)) == {
        "KEHU_MAX_RECORDS",
        *(f"KEHU_{name.upper()}" for name in Accepted.model_fields),
    }


@pytest.mark.parametrize(("name", "value"), [("MAX_NESTING", "0"), ("MAX_AHEAD", "-1"), ("EARLIEST", "1900-01-01")])
def test_a_limit_that_makes_no_sense_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"KEHU_{name}", value)
    with pytest.raises(WrongSettings, match=f"KEHU_{name}"):
        settings.accepted()


def test_a_megabyte_of_brackets_or_digits_is_refused_like_a_short_one() -> None:
    for value, rule in (
        (b"[" * 10**6, "too-deep"),
        (b"7" * 10**6, "number-too-long"),
        (b'{"a":' * 180_000, "too-deep"),
    ):
        with pytest.raises(Unreadable) as refused:
            codec.decode(replace(envelope(), value=value), NOON)
        assert refused.value.rule == rule
