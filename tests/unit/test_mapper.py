"""What is stored reads back as what was decided: every event, with and without its optional fields."""

from datetime import date

import pytest
from pydantic import TypeAdapter

from domain import handling, registry
from domain.errors import UnknownName
from domain.values import Event, Money, Recorded
from infra.postgres.mapper import KehuMapper, to_recorded, to_state
from tests.support.builders import NOON, meta

REGISTRATIONS = list(registry.all_registrations())
assert handling.AGGREGATES
EXAMPLES = {
    "metric": "nps", "scale": 10, "score": 9, "severity": 2, "priority": 1, "resolved": True,
    "booked_on": date(2026, 3, 2),
    "amount": Money(minor=-5, currency="EUR"), "invited_at": NOON, "starts_at": NOON, "clock": "service",
    "preset_version": 1, "waiting_for": "customer", "outcome": "upheld", "status": "granted",
}  # fmt: skip


def smallest(kind: type[Event]) -> Event:
    """An event with its required fields only."""
    return kind(**{n: EXAMPLES.get(n, "北京") for n, field in kind.model_fields.items() if field.is_required()})


@pytest.mark.parametrize("registration", REGISTRATIONS, ids=lambda r: r.topic)
def test_an_event_reads_back_as_it_was_stored(registration: registry.Registration) -> None:
    event = smallest(registration.event)
    recorded = Recorded("stream", 3, event, meta(), registration.name)
    assert to_recorded("stream", 3, registration.topic, to_state(recorded)) == recorded
    mapper = KehuMapper(transcoder=None)  # type: ignore[arg-type]
    stored = mapper.to_stored_event(recorded)
    assert mapper.to_domain_event(stored) == recorded
    assert set(TypeAdapter(dict[str, dict[str, object]]).validate_json(stored.state)) == {"meta", "data"}


def test_a_name_that_is_not_registered_is_an_error() -> None:
    with pytest.raises(UnknownName):
        to_recorded("stream", 1, "survey.lost.v1", b"{}")
