"""Which rows are touched by events that count at one moment only."""

from collections.abc import Sequence
from dataclasses import replace

from consumers.touches import Touch, Touches
from domain.contact import ContactQueued
from domain.values import Recorded
from projections.declare import Projection, Rows, Table
from tests.support.rows import MemoryRows, recorded

SEEN = Table("seen", {"contact": "text"}, {"queue": "text"})
OTHER = Table("other", {"contact": "text"}, {"queue": "text"})


def fold(rows: Rows, event: Recorded) -> None:
    """Each contact gets the queue of the one before it."""
    assert isinstance(event.event, ContactQueued)
    last = rows.get(SEEN, ("last",))
    rows.put(SEEN, (event.event.contact_id,), {"queue": last["queue"] if last else ""})
    rows.put(OTHER, (event.event.contact_id,), {"queue": ""})
    rows.put(SEEN, ("last",), {"queue": event.event.queue})


SEES = Projection("sees", 1, (SEEN, OTHER), frozenset({"contact.queued"}), lambda _: (), fold)


def touched(events: Sequence[Recorded], own: Sequence[int]) -> list[Touch]:
    touches, rows = Touches(SEEN, lambda event: event.position not in own), MemoryRows()
    for event in events:
        touches.noting(SEES).fold(rows, event)
    found = touches.take()
    assert touches.take() == []
    return sorted(found)


def queued(*contacts: str, customer: str = "c1", after: int = 0) -> list[Recorded]:
    events = [ContactQueued(contact_id=one, queue=f"q{one}", channel="app") for one in contacts]
    return recorded(*events, customer=customer, after=after)


def test_rows_that_such_an_event_puts_are_noted_and_those_it_reads_are_not() -> None:
    assert touched(queued("a", "b"), [2]) == [(("b",), 2, True), (("last",), 2, True)]


def test_what_a_later_event_of_the_same_customer_does_may_follow_from_it() -> None:
    events = [*queued("a", "b"), *queued("c", customer="c2", after=2)]
    assert touched(events, [1]) == [
        (("a",), 1, True),
        (("b",), 1, False),
        (("last",), 1, False),
        (("last",), 1, True),
    ]


def test_without_such_an_event_nothing_is_noted() -> None:
    assert touched(queued("a", "b"), []) == []


def test_the_fold_is_the_same() -> None:
    plain, noted = MemoryRows(), MemoryRows()
    noting = Touches(SEEN, lambda _: False).noting(SEES)
    assert replace(noting, fold=fold) == SEES
    for event in queued("a", "b"):
        fold(plain, event)
        noting.fold(noted, event)
    assert noted.whole(SEEN) == plain.whole(SEEN)
