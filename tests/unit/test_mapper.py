"""What is stored reads back as what was decided: every event, with and without its optional fields."""

import orjson
import pytest

from domain import handling, registry
from domain.errors import UnknownName
from domain.values import Recorded
from infra.postgres.mapper import KehuMapper, to_recorded, to_state
from tests.support.builders import meta, smallest

REGISTRATIONS = list(registry.all_registrations())
assert handling.AGGREGATES


@pytest.mark.parametrize("registration", REGISTRATIONS, ids=lambda r: r.topic)
def test_an_event_reads_back_as_it_was_stored(registration: registry.Registration) -> None:
    event = smallest(registration.event)
    recorded = Recorded("stream", 3, event, meta(), registration.name)
    assert to_recorded("stream", 3, registration.topic, to_state(recorded)) == recorded
    mapper = KehuMapper(transcoder=None)  # type: ignore[arg-type]
    stored = mapper.to_stored_event(recorded)
    assert mapper.to_domain_event(stored) == recorded
    assert set(orjson.loads(stored.state)) == {"meta", "data"}


def test_a_name_that_is_not_registered_is_an_error() -> None:
    with pytest.raises(UnknownName):
        to_recorded("stream", 1, "survey.lost.v1", b"{}")
