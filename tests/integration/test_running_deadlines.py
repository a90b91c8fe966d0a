"""What the watch is told: deadlines that are over, oldest first, one process at a time, and not by a stale model."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from consumers.ingest import Ingest
from consumers.projector import Projector
from domain.complaint import ComplaintDeadlineMissed, ComplaintOpened
from domain.ports import Message, Partition
from domain.values import Fact
from infra import bootstrap
from infra.kafka import codec
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.running_deadlines import RunningDeadlines, place_of
from projections.deadlines import RUNNING_DEADLINES
from tests.support.builders import NOON, fact
from tests.support.processes import until

DAY = timedelta(days=1)
LATER, SINCE = NOON + 20 * DAY, NOON
OPENED = ComplaintOpened(complaint_id="p", channel="app")


def store(database: str, *facts: Fact) -> None:
    """Take the facts, and nothing more."""
    log, partition = PostgresLog(database), Partition("kehu.complaints", "t", 0)
    ingest = Ingest(log, bootstrap.decoder(lambda: LATER), lambda: LATER)
    ingest.claim([partition])
    start, messages = ingest.positions[partition], []
    for number, one in enumerate(facts):
        key, value, headers = codec.structured(one)
        messages.append(Message(partition, start + number, 0, key, value, tuple(headers)))
    ingest.take(ingest.read({partition: messages}))
    log.close()


def fold(database: str) -> None:
    """Fold what is stored."""
    log, models = PostgresLog(database), PostgresReadModels(database)
    models.create(RUNNING_DEADLINES)
    Projector(log, models, [RUNNING_DEADLINES]).run_until_caught_up()
    log.close()
    models.close()


@pytest.fixture
def opened(database: str) -> str:
    """Four cases, opened a day apart; three have missed the service deadline."""
    cases = [replace(OPENED, complaint_id=f"p{n}") for n in range(4)]
    store(database, *(fact(one, f"e{n}", at=NOON + 5 * n * DAY) for n, one in enumerate(cases)))
    fold(database)
    return database


@pytest.fixture
def deadlines(opened: str) -> Iterator[RunningDeadlines]:
    made = RunningDeadlines(opened, behind=0)
    yield made
    made.close()


def cases(found: object) -> list[str]:
    assert isinstance(found, list)
    return [one.data.complaint_id for one in found]


def test_what_is_over_comes_oldest_first_and_page_by_page(deadlines: RunningDeadlines) -> None:
    everything = deadlines.over(LATER, SINCE, 10)
    assert cases(everything) == ["p0", "p1", "p2"]
    first = deadlines.over(LATER, SINCE, 2)
    assert cases(first) == ["p0", "p1"]
    assert cases(deadlines.over(LATER, SINCE, 2, place_of(first[-1]))) == ["p2"]
    assert cases(deadlines.over(LATER, NOON + 8 * DAY, 10)) == ["p1", "p2"]
    assert deadlines.over(NOON + DAY, SINCE, 10) == []


def test_what_is_on_record_comes_no_more(opened: str, deadlines: RunningDeadlines) -> None:
    reports = deadlines.over(LATER, SINCE, 10)
    assert all(isinstance(one.data, ComplaintDeadlineMissed) for one in reports)
    store(opened, *reports[:2], reports[0])
    fold(opened)
    assert cases(deadlines.over(LATER, SINCE, 10)) == ["p2"]


def test_one_process_at_a_time_is_told(opened: str, deadlines: RunningDeadlines) -> None:
    assert deadlines.over(LATER, SINCE, 10)
    other = RunningDeadlines(opened)
    assert other.over(LATER, SINCE, 10) == ()
    deadlines.close()
    until(lambda: bool(other.over(LATER, SINCE, 10)), 20)  # the server needs a moment to miss a connection
    assert cases(other.over(LATER, SINCE, 10)) == ["p0", "p1", "p2"]
    other.close()


def test_a_read_model_that_is_far_behind_is_not_believed(opened: str, deadlines: RunningDeadlines) -> None:
    store(opened, fact(replace(OPENED, complaint_id="q"), "late", at=LATER))
    assert deadlines.over(LATER, SINCE, 10) == ()
    fold(opened)
    assert cases(deadlines.over(LATER, SINCE, 10)) == ["p0", "p1", "p2"]
