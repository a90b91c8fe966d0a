"""What is stored reads back as what was decided: every event, with and without its optional fields."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain import handling, personal, registry
from domain.customer import CustomerRegistered
from domain.errors import UnknownName
from domain.upcasts import UPCASTS
from domain.values import Event, Recorded
from infra.boxes import NotOpened
from infra.postgres.data_keys import DataKeyMissing, Keys
from infra.postgres.mapper import KehuMapper, read_rows, reader_of, to_recorded, to_state
from tests.support.builders import meta, smallest

REGISTRATIONS = list(registry.all_registrations())
PERSONAL = [one for one in REGISTRATIONS if personal.fields(one.event)]
assert handling.AGGREGATES

KEYS: Keys = {"c1": AESGCM(b"k" * 32), "c2": AESGCM(b"o" * 32)}
DESTROYED: Keys = {"c1": None}
MARKER = "Zaphod Beeblebrox"


def every(*registrations: registry.Registration) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("registration", registrations, ids=lambda r: r.topic)


def told(registration: registry.Registration, word: Any = MARKER) -> Recorded:
    """An event that says something in all its personal fields."""
    event = smallest(registration.event)
    event = personal.replaced(event, personal.fields(registration.event), word)
    return Recorded("stream", 3, event, meta(), registration.name)


def row_of(recorded: Recorded, keys: Keys = KEYS, topic: str = "") -> tuple[Any, ...]:
    return "stream", 3, topic or registry.of(recorded.event).topic, to_state(recorded, keys)


def found(row: tuple[Any, ...], keys: Keys = KEYS) -> Event:
    (event,) = read_rows([row], lambda _customers: keys)
    return event.event


@every(*REGISTRATIONS)
def test_an_event_reads_back_as_it_was_stored(registration: registry.Registration) -> None:
    recorded = Recorded("stream", 3, smallest(registration.event), meta(), registration.name)
    (read,) = read_rows([row_of(recorded)], lambda _customers: KEYS)
    assert read == recorded


@every(*[one for one in REGISTRATIONS if one not in PERSONAL])
def test_an_event_without_personal_fields_is_stored_in_the_clear(registration: registry.Registration) -> None:
    recorded = Recorded("stream", 3, smallest(registration.event), meta(), registration.name)
    mapper = KehuMapper(transcoder=None)  # type: ignore[arg-type]
    stored = mapper.to_stored_event(recorded)
    assert mapper.to_domain_event(stored) == recorded == to_recorded("stream", 3, registration.topic, stored.state)
    assert set(orjson.loads(stored.state)) == {"meta", "data"}


@every(*PERSONAL)
def test_what_personal_fields_say_is_not_in_what_is_stored(registration: registry.Registration) -> None:
    recorded = told(registration)
    row = row_of(recorded)
    assert MARKER.encode() not in row[3]
    assert orjson.loads(row[3])["hidden"]["fields"] == list(personal.fields(registration.event))
    assert found(row) == recorded.event


@every(*PERSONAL)
def test_without_its_key_an_event_says_which_fields_it_had(registration: registry.Registration) -> None:
    row = row_of(told(registration))
    assert found(row, DESTROYED) == told(registration, personal.ERASED).event
    assert to_recorded(*row).event == told(registration, personal.HIDDEN).event
    (unasked,) = read_rows([row], lambda _customers: pytest.fail("no key is needed"), names=())
    assert unasked.event == told(registration, personal.HIDDEN).event


@every(*PERSONAL)
def test_of_somebody_who_was_forgotten_nothing_is_stored(registration: registry.Registration) -> None:
    row = row_of(told(registration), DESTROYED)
    assert orjson.loads(row[3])["hidden"] == {"fields": list(personal.fields(registration.event))}
    assert found(row, DESTROYED) == told(registration, personal.ERASED).event


@every(*PERSONAL)
def test_what_was_stored_in_the_clear_by_a_former_release_is_read(registration: registry.Registration) -> None:
    recorded = told(registration)
    clear = msgspec.json.encode({"meta": recorded.meta, "data": recorded.event})
    # A text that stands for a hash, say, keeps to no pattern; it is read as a former release wrote it.
    if registration.name in ("customer.registered", "customer.profile-changed", "customer.merged"):
        recorded = Recorded("stream", 3, smallest(registration.event), meta(), registration.name)
        clear = msgspec.json.encode({"meta": recorded.meta, "data": recorded.event})
    (read,) = read_rows([("stream", 3, registration.topic, clear)], lambda _customers: KEYS)
    assert read == recorded


def test_personal_data_is_never_stored_without_a_key() -> None:
    recorded = Recorded("stream", 3, CustomerRegistered(name=MARKER), meta(), "customer.registered")
    with pytest.raises(DataKeyMissing):
        to_state(recorded)
    with pytest.raises(DataKeyMissing):
        KehuMapper(transcoder=None).to_stored_event(recorded)  # type: ignore[arg-type]


def _renamed(row: tuple[Any, ...], old: bytes, new: bytes) -> tuple[Any, ...]:
    assert old in row[3]
    return (*row[:3], row[3].replace(old, new))


@pytest.mark.parametrize(
    "moved",
    [
        lambda row: ("another", *row[1:]),
        lambda row: (row[0], 4, *row[2:]),
        lambda row: (*row[:2], "customer.profile-changed.v1", row[3]),
        lambda row: _renamed(row, b'["name"]', b'["email"]'),
        lambda row: _renamed(row, b'"customer":"c1"', b'"customer":"c2"'),
    ],
    ids=["stream", "version", "type", "field", "customer"],
)
def test_a_box_opens_at_its_own_place_only(moved: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
    recorded = Recorded("stream", 3, CustomerRegistered(name=MARKER), meta(), "customer.registered")
    with pytest.raises(NotOpened):
        found(moved(row_of(recorded)))


def test_the_same_words_are_never_encrypted_the_same() -> None:
    recorded = Recorded("stream", 3, CustomerRegistered(name=MARKER), meta(), "customer.registered")
    assert to_state(recorded, KEYS) != to_state(recorded, KEYS)


def test_fields_of_an_older_version_are_found_under_their_new_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a box of version 1, when version 2 calls its field otherwise, then it is read there."""
    first = registry.named("survey.answered")
    row = row_of(told(first), topic=first.topic)

    class Answered(Event):
        invitation_id: str
        score: int
        words: personal.PersonalText | None = None

    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {("words" if name == "comment" else name): value for name, value in data.items()}

    monkeypatch.setitem(registry._by_name, first.name, replace(first, version=2, event=Answered))
    monkeypatch.setitem(UPCASTS, (first.name, 1), renamed)
    reader_of.cache_clear()
    try:
        assert getattr(found(row), "words", None) == MARKER
        assert getattr(found(row, DESTROYED), "words", None) == personal.ERASED
        assert getattr(to_recorded(*row).event, "words", None) == personal.HIDDEN
    finally:
        reader_of.cache_clear()


def test_a_name_that_is_not_registered_is_an_error() -> None:
    with pytest.raises(UnknownName):
        to_recorded("stream", 1, "survey.lost.v1", b"{}")


def test_every_personal_field_is_a_text_or_some_texts() -> None:
    """What is in a box has no other types."""
    for registration in PERSONAL:
        for value in personal.said(told(registration).event).values():
            assert value == MARKER or value == (MARKER,), registration.name
