"""Whom a message names that nobody could read: an id as a whole, and no other that begins or ends like it."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.ports import DeadLetter, Message, Partition
from infra.postgres import messages
from infra.postgres.data_keys import SYSTEM
from infra.postgres.naming import naming

EVENT = '{"specversion":"1.0","subject":"%s","data":{"score":1,"minor":100042}'
"""Cut off: no JSON."""


def message(value: str | bytes | None, key: bytes | None = None, header: bytes | None = None) -> Message:
    said = value.encode() if isinstance(value, str) else value
    return Message(Partition("kehu.surveys", "t", 0), 0, 0, key, said, (("x-from", header),))


@pytest.mark.parametrize(
    ("customer", "value"),
    [
        ("c-1", EVENT % "c-1"),
        ("c-1", EVENT % r"\u0063-1"),
        ("c-1", r"a string of JSON in JSON: {\"subject\":\"c-1\"}"),
        ("c-1", r'{"comment":"first line\nc-1"'),
        ("branch/c-1", r'{"subject":"branch\/c-1"'),
        ("c-1", "customer:c-1"),
        ("c-1", "GET /customers/c-1/cases"),
        ("c-1", "it was c-1."),
        ("c-1", "customer_id=c-1&score=2"),
        ("c-1", "<customer>c-1</customer>"),
        ("c-1", b"\x00\x06c-1customer.registered"),
        ("c-1", b"\x0a\x03c-1B\x05phone"),
        ("100042", EVENT % "100042"),
        ("100042", "{'subject': '100042'}"),
        ("100042", '{"subject": 100042, "data"'),
        ("100042", '{"customer_id": 100042}'),
        ("100042", "<CustomerNumber>100042</CustomerNumber>"),
    ],
)
def test_whom_a_message_names_is_found(customer: str, value: str | bytes) -> None:
    assert naming(customer)(message(value))


@pytest.mark.parametrize(
    ("customer", "value"),
    [
        ("c-1", EVENT % "c-10"),
        ("c-1", EVENT % "c-1-2"),
        ("c-1", EVENT % "abc-1"),
        ("c-1", EVENT % "c-1.5"),
        ("c-1", EVENT % "c-1@bank.example"),
        ("c-1", EVENT % r"\u0063-10"),
        ("c-1", b"\x00\x08c-10"),
        ("c.1", EVENT % "c-1"),
        ("1", EVENT % "c-1"),
        ("1", EVENT % "10"),
        ("100042", EVENT % "c-1"),
        ("100042", '{"customer_id": 1000421}'),
        ("100042", None),
    ],
)
def test_somebody_else_is_not_taken_for_a_customer(customer: str, value: str | bytes | None) -> None:
    assert not naming(customer)(message(value))


def test_a_key_and_a_header_name_somebody_when_they_are_the_id() -> None:
    names = naming("17")
    assert names(message(None, key=b"17"))
    assert names(message(None, header=b"17"))
    assert not names(message(None, key=b"170", header=b"at 17 o'clock"))
    assert naming("c-1")(message(None, key=b" c-1"))


def dead(of: Message, stream: str | None = None) -> DeadLetter:
    return DeadLetter(of, "a-rule", "why", stream, None, None, datetime(2025, 3, 3, tzinfo=UTC))


_ids = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)


@given(_ids, _ids, st.booleans())
def test_of_the_subject_of_an_event_that_is_cut_off_exactly_one_customer_is_named(
    customer: str, other: str, escaped: bool
) -> None:
    said = "".join(f"\\u{ord(letter):04x}" for letter in other) if escaped else other
    assert naming(customer)(message(f'{{"subject":"{said}","data":{{')) == (customer == other)


@pytest.mark.parametrize(
    ("value", "whose"),
    [
        (json.dumps({"subject": "c-2"}), "c-2"),
        ("{nobody can read this", "c-2"),
        (json.dumps({"subject": "c-1"}), SYSTEM),
        ('{"subject" : "c-1", "cut', SYSTEM),
        (r'{"subject":"\u0063-2"', "c-2"),
        (json.dumps({"subject": "c-2", "data": {"subject": "c-1"}}), SYSTEM),
    ],
)
def test_what_is_about_another_customer_than_its_key_is_hidden_under_the_key_of_nobody(value: str, whose: str) -> None:
    assert messages.subject(dead(message(value, key=b"c-2"))) == whose


def test_the_subject_of_a_binary_event_is_its_header() -> None:
    for subject, whose in ((b"c-2", "c-2"), (b"c-1", SYSTEM)):
        event = replace(message("{}", key=b"c-2"), headers=(("ce_subject", subject),))
        assert messages.subject(dead(event)) == whose


def test_what_was_read_is_about_the_customer_of_its_key_whatever_else_it_says() -> None:
    said = json.dumps({"subject": "c-2", "data": {"subject": "c-1"}})
    assert messages.subject(dead(message(said, key=b"c-2"), stream="survey-s1")) == "c-2"
