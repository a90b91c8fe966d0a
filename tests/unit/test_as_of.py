"""Moments as they are typed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contact import ContactQueued
from domain.values import Position
from infra.postgres.as_of import EVER, AsOf, NoSuchMoment, Resolved
from infra.postgres.past import Moment
from tests.support.builders import NOON
from tests.support.rows import recorded

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", AsOf()),
        ("position:0", AsOf(position=0)),
        ("known:2026-03-01", AsOf(known_at=MARCH)),
        ("happened:2026-03-01T00:00:00Z", AsOf(happened_by=MARCH)),
        ("known:2026-03-01T01:00+01:00, happened:2026-02-28T23:00", AsOf(None, MARCH, MARCH - timedelta(hours=1))),
        ("position:1200,happened:2026-03-01 00:00", AsOf(1200, None, MARCH)),
    ],
)
def test_a_moment_is_read_as_it_is_meant(text: str, meant: AsOf) -> None:
    assert AsOf.parse(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        *("", "later", "position", "position:", "position:-1", "position:1.5", "position:٣", "position:" + "9" * 19),
        *("known:March", "known:2026-02-30", "position:1,position:2", "position:1,now", "at:2026-03-01", "\0"),
    ],
)
def test_what_is_no_moment_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(NoSuchMoment, match=r"position|write a time like 2026-03-01T12:00"):
        AsOf.parse(text)


@given(st.integers(0, 4), st.integers(-3, 3))
def test_an_event_counts_when_it_stands_before_the_position_and_happened_by_the_time(last: int, hours: int) -> None:
    queued = ContactQueued(contact_id="k", channel="app", queue="q")
    events = recorded(*((queued, NOON + timedelta(hours=hour)) for hour in (2, -1, 0)))
    for happened_by in (EVER, NOON + timedelta(hours=hours)):
        resolved = Resolved(Moment(happened_by, upto=Position(last)), NOON, "")
        counted = [event for event in events if resolved.counts(event)]
        assert counted == [event for event in events[:last] if event.meta.occurred_at <= happened_by]
