"""What a read model folded is proved against the log: one event that is skipped or counted twice is named."""

from collections.abc import Callable, Collection, Sequence
from contextlib import closing

import pytest
from msgspec.structs import replace

from consumers.projector import Projector
from domain.ports import Batch
from domain.values import Position, Recorded
from infra.cli.servers import connected
from infra.memory.log import MemoryLog
from infra.postgres.builds import Builds
from infra.postgres.completeness import Hole, first_hole
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from projections.completeness import RANGE
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.declare import Projection
from projections.satisfaction import SATISFACTION
from tests.support.histories import bank_log

Wrong = Callable[[Sequence[Recorded]], Sequence[Recorded]]


@pytest.fixture(scope="module")
def history() -> MemoryLog:
    """What a bank's messages led to."""
    return bank_log(1_500, seed=5)


class Mutant(PostgresLog):
    """A log whose reader is wrong about what it read."""

    def __init__(self, conninfo: str, wrong: Wrong) -> None:
        super().__init__(conninfo)
        self._wrong = wrong

    def read(
        self,
        after: Position,
        limit: int,
        names: Collection[str] | None = None,
        personal: Collection[str] | None = None,
    ) -> Sequence[Recorded]:
        return self._wrong(super().read(after, limit, names, personal))


@pytest.fixture
def found(database: str, history: MemoryLog) -> Callable[[Projection, Wrong], Hole | None]:
    """Folds the log with a mutant and says what the proof finds."""
    with closing(PostgresLog(database)) as log:
        log.append(Batch(events=history.events))

    def fold(projection: Projection, wrong: Wrong) -> Hole | None:
        with closing(Mutant(database, wrong)) as log, closing(PostgresReadModels(database)) as models:
            models.create(projection)
            Projector(log, models, [projection], batch=400).run_until_caught_up()
            assert not models.standing([projection])[projection.name].error
        with closing(Builds(database)) as builds, connected(database) as conn:
            return first_hole(conn, projection, builds.of(projection.name)["live"])

    return fold


def nothing(events: Sequence[Recorded]) -> Sequence[Recorded]:
    return events


def without(*positions: int) -> Wrong:
    return lambda events: [e for e in events if e.position not in positions]


def test_every_event_was_folded_once(found: Callable[[Projection, Wrong], Hole | None]) -> None:
    assert found(CUSTOMER_TIMELINE, nothing) is None
    assert found(SATISFACTION, nothing) is None


def test_one_skipped_event_is_named(history: MemoryLog, found: Callable[[Projection, Wrong], Hole | None]) -> None:
    handled = [e.position for e in history.events if e.position and e.name in SATISFACTION.handles]
    skipped = handled[len(handled) // 2]
    assert found(SATISFACTION, without(skipped)) == Hole("missing", skipped, skipped)


def test_the_first_of_several_skipped_events_is_named(
    history: MemoryLog, found: Callable[[Projection, Wrong], Hole | None]
) -> None:
    handled = [int(e.position) for e in history.events if e.position and e.name in CUSTOMER_TIMELINE.handles]
    first, second, later = handled[300], handled[310], handled[900]
    assert found(CUSTOMER_TIMELINE, without(first, second, later)) == Hole("missing", Position(first), Position(first))


def test_an_event_that_was_folded_twice_is_named(
    history: MemoryLog, found: Callable[[Projection, Wrong], Hole | None]
) -> None:
    twice = next(int(e.position) for e in history.events[600:] if e.position and e.name in SATISFACTION.handles)
    hole = found(SATISFACTION, lambda events: [o for e in events for o in [e] * (1 + (e.position == twice))])
    assert hole == Hole("doubled", Position(twice), Position(twice))


def test_many_skipped_events_are_placed_in_their_range(found: Callable[[Projection, Wrong], Hole | None]) -> None:
    hole = found(CUSTOMER_TIMELINE, lambda events: [e for e in events if e.position is None or e.position % 3])
    assert hole == Hole("missing", Position(1), Position(RANGE))


def test_another_event_at_the_same_position_is_noticed(
    history: MemoryLog, found: Callable[[Projection, Wrong], Hole | None]
) -> None:
    other = next(int(e.position) for e in history.events[600:] if e.position and e.name in CUSTOMER_TIMELINE.handles)

    def exchanged(events: Sequence[Recorded]) -> Sequence[Recorded]:
        return [replace(e, originator_version=99) if e.position == other else e for e in events]

    hole = found(CUSTOMER_TIMELINE, exchanged)
    assert hole is not None
    assert hole.kind == "different"
    assert hole.first <= other <= hole.last
