"""Names are data: every event class is registered, no name is used twice, and versions have their upcasters."""

from collections.abc import Iterator

import pytest

from domain import contact, handling, registry
from domain.administration import Act
from domain.errors import UnknownName
from domain.values import Dimensions, Event
from tests.support.builders import smallest


def declared(kind: type[Event]) -> Iterator[type[Event]]:
    """The classes below this one that the domain declares."""
    for below in kind.__subclasses__():
        yield from declared(below)
        if below.__module__.startswith("domain."):
            yield below


def test_every_event_class_of_an_aggregate_is_registered() -> None:
    assert set(declared(Event)) - {Act, Dimensions} == {r.event for r in registry.all_registrations()}
    registry.check()


def test_every_registered_event_has_an_aggregate() -> None:
    for registration in registry.all_registrations():
        assert handling.aggregate_of(smallest(registration.event)).evolve is not None


def test_a_name_or_class_is_registered_once_only() -> None:
    with pytest.raises(ValueError, match="registered already"):
        registry.register("contact.queued", contact.ContactQueued)


def test_topics_and_types_carry_name_and_version() -> None:
    registration = registry.named("complaint.opened")
    assert (registration.topic, registration.type) == ("complaint.opened.v1", "kehu.complaint.opened.v1")
    assert registry.split_topic("complaint.opened.v1") == ("complaint.opened", 1)
    with pytest.raises(UnknownName):
        registry.split_topic("complaint.opened")
