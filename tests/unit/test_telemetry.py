"""What the metrics of a worker say: sums that agree with what is stored, and labels that are bounded."""

from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ports import Batch, Conflict, Fenced, Move, Unavailable
from domain.values import Position
from infra.figures import Folding, Held, Reading
from infra.memory.log import MemoryLog
from infra.telemetry import Telemetry
from tests.support.builders import SURVEYS
from tests.support.metrics import Scraped, of
from tests.unit.test_ingest import INVITED, Bench, answer

TOPIC = SURVEYS.topic
SAID = [("1", INVITED), ("1", answer(4)), ("2", answer(4)), ("3", answer(9)), ("4", answer(2, "x")), b"{"]


class ToldLog(MemoryLog):
    """A log in memory that tells what it stores."""

    def __init__(self) -> None:
        super().__init__()
        self.telemetry = Telemetry([TOPIC])

    def append(self, batch: Batch) -> Position:
        with self.telemetry.appending(batch):
            return super().append(batch)


@given(st.lists(st.lists(st.sampled_from(SAID), min_size=1, max_size=5), max_size=5))
def test_after_any_messages_the_counters_agree_with_what_is_stored(
    batches: list[list[tuple[str, object] | bytes]],
) -> None:
    log = ToldLog()
    bench = Bench(log)
    for batch in batches:
        bench.take(*batch)  # type: ignore[arg-type]
    seen = of(log.telemetry.registry)
    counted, left = seen.by("outcome", "messages_total", topic=TOPIC), seen("unparked_total", topic=TOPIC)
    assert left is not None
    counts = log.counts.get(SURVEYS, dict.fromkeys(("appended", "duplicate", "parked", "dead"), 0))
    assert {**counted, "parked": counted["parked"] - left} == counts
    assert sum(counted.values()) - left == log.positions[SURVEYS]
    assert seen("events_total") == len(log.events)


def test_a_message_that_waited_counts_as_parked_and_as_what_became_of_it() -> None:
    log = ToldLog()
    bench = Bench(log)
    bench.take(("2", answer(4)))
    bench.take(("1", INVITED))
    seen = of(log.telemetry.registry)
    assert seen.by("outcome", "messages_total", topic=TOPIC) == {"appended": 2, "duplicate": 0, "parked": 1, "dead": 0}
    assert seen("unparked_total", topic=TOPIC) == 1


@pytest.mark.parametrize("refusal", [Fenced, Conflict, Unavailable])
def test_what_the_store_refuses_counts_by_its_reason_and_not_as_messages(refusal: type[Exception]) -> None:
    telemetry, running = Telemetry([TOPIC]), []

    def refused() -> None:
        with telemetry.appending(Batch(moves=[Move(SURVEYS, 0, 2, appended=2)])):
            running.append(of(telemetry.registry)("append_running_seconds"))
            raise refusal("no")

    with pytest.raises(refusal):
        refused()
    assert running != [0]
    seen = of(telemetry.registry)
    reasons = seen.by("reason", "appends_refused_total")
    assert {name: n for name, n in reasons.items() if n} == {refusal.__name__.lower(): 1}
    assert seen.sum("messages_total") == 0
    assert seen("append_running_seconds") == 0


def test_the_delay_is_that_of_the_oldest_message_by_the_clock_of_its_broker() -> None:
    telemetry = Telemetry([TOPIC])
    telemetry.batch(0.2, {TOPIC: round(time() * 1000) - 90_000})
    telemetry.batch(0.2, {TOPIC: round(time() * 1000) + 90_000})  # a clock that goes ahead
    telemetry.batch(0.2, {TOPIC: -1})  # a message without a timestamp
    seen = of(telemetry.registry)
    assert (seen("batch_seconds_count"), seen("delay_seconds_count", topic=TOPIC)) == (3, 2)
    assert seen("delay_seconds_bucket", topic=TOPIC, le="60.0") == 1
    assert seen("delay_seconds_bucket", topic=TOPIC, le="300.0") == 2


def test_a_server_is_up_or_away_for_some_seconds() -> None:
    telemetry = Telemetry([TOPIC])
    telemetry.ask(Reading, {"postgresql": lambda: 12.5, "kafka": lambda: None})
    seen = of(telemetry.registry)
    assert seen.by("server", "server_up") == {"postgresql": 0, "kafka": 1}
    assert seen.by("server", "server_away_seconds") == {"postgresql": 12.5, "kafka": 0}


def test_what_the_store_holds_is_shown_only_while_it_can_be_asked() -> None:
    telemetry = Telemetry([TOPIC])
    assert of(telemetry.registry)("log_position") is None
    telemetry.show(HELD)
    assert held(of(telemetry.registry)) == {
        "log_position": 100,
        "projection_position": 90,
        "projection_behind_events": 10,
        "projection_behind_seconds": 2.5,
        "projection_stopped": 1,
        "projection_paused": 0,
        "parked_messages": 3,
        "dead_letters": 4,
        "dead_letters_unpublished": 1,
    }
    telemetry.show(None)
    assert set(held(of(telemetry.registry)).values()) == {None}


HELD = Held(1.0, 100, [Folding("satisfaction", 90, 10, 2.5, True, False)], {TOPIC: 3}, 60.0, {TOPIC: 4}, 1, 5.0)


def held(seen: Scraped) -> dict[str, float | None]:
    """What is said of the store."""
    labels: dict[str, dict[str, str]] = {
        "log_position": {},
        "projection_position": {"projection": "satisfaction"},
        "projection_behind_events": {"projection": "satisfaction"},
        "projection_behind_seconds": {"projection": "satisfaction"},
        "projection_stopped": {"projection": "satisfaction"},
        "projection_paused": {"projection": "satisfaction"},
        "parked_messages": {"topic": TOPIC},
        "dead_letters": {"topic": TOPIC},
        "dead_letters_unpublished": {},
    }
    return {name: seen(name, **of_it) for name, of_it in labels.items()}
