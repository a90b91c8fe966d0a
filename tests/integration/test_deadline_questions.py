"""Running deadlines, asked of the read models in PostgreSQL: which run, how near they are, and whose work they are."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest

from consumers.projector import Projector
from domain.complaint import ComplaintAssigned, ComplaintOpened, ComplaintResolved, ComplaintWaiting
from domain.values import Event
from infra.cli.servers import connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.memory.log import MemoryLog
from infra.postgres.migrate import migrate
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.deadlines import ABOUT_DEADLINES, STATES, running_deadlines
from infra.postgres.read_models import PostgresReadModels
from tests.support.builders import NOON
from tests.support.rows import Dated, decided

DAY = timedelta(days=1)


def opened(case: str, days: int = 0, **more: Any) -> Dated:
    return ComplaintOpened(complaint_id=case, channel="app", **more), NOON + days * DAY


FACTS: list[Event | Dated] = [
    opened("law", queue="cards", branch="Leeds"),
    opened("bank", regime="service_default", queue="loans", days=1),
    ComplaintAssigned(complaint_id="law", owner="eve"),
    opened("waits", queue="cards", days=2),
    (ComplaintWaiting(complaint_id="waits", waiting_for="customer"), NOON + 3 * DAY),
    opened("done", queue="cards"),
    (ComplaintResolved(complaint_id="done", outcome="upheld", reasons="r", onward_rights="o"), NOON + DAY),
]
LAW = ("law", "statutory"), ("waits", "statutory")
"""Eight weeks from receipt."""


@pytest.fixture(scope="module")
def stored(postgres_server: EmbeddedPostgres) -> str:
    """Two under the law, of which one waits for the customer; one that only the bank promised; one that is over."""
    database = postgres_server.create_database("deadline_questions")
    migrate(database)
    log = MemoryLog()
    log.events = decided(*FACTS)
    with closing(PostgresReadModels(database)) as models:
        for projection in ABOUT_DEADLINES:
            models.create(projection)
        projector = Projector(log, models, ABOUT_DEADLINES)
        projector.run_until_caught_up()
        assert projector.stopped == {}
    return database


@pytest.fixture
def answer(stored: str) -> Iterator[Answer]:
    """What one transaction sees, which changes nothing for the next."""
    with closing(connected(stored)) as conn:
        yield Answer(conn, *ABOUT_DEADLINES)


def asked(answer: Answer, now: datetime = NOON, **chosen: Any) -> list[tuple[str, str]]:
    return [(row["case"], row["clock"]) for row in running_deadlines(answer, now, **chosen)]


def test_each_clock_of_an_open_case_that_runs_has_a_row_the_earliest_first(answer: Answer) -> None:
    """The service clock of a case that waits for the customer is stopped, and a case that is over has none."""
    assert asked(answer) == [("law", "service"), ("bank", "service"), *LAW]
    assert asked(answer, limit=2) == [("law", "service"), ("bank", "service")]
    dues = [row["due_at"] for row in running_deadlines(answer, NOON)]
    assert dues == sorted(dues)
    assert asked(answer, until=dues[2]) == [("law", "service"), ("bank", "service")]


def test_a_row_says_whose_work_it_is_and_by_which_rule(answer: Answer) -> None:
    _, _, row, _ = running_deadlines(answer, NOON)
    told = {name: row[name] for name in ("case", "preset", "preset_version", "queue", "branch", "owner", "regime")}
    assert told == {
        "case": "law",
        "preset": "uk_disp_standard",
        "preset_version": 1,
        "regime": "uk_disp_standard",
        "queue": "cards",
        "branch": "Leeds",
        "owner": "eve",
    }
    assert timedelta() <= row["due_at"] - NOON - timedelta(seconds=row["seconds_left"]) < timedelta(seconds=1)
    assert row["starts_at"] == NOON


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"clock": "statutory"}, LAW),
        ({"queue": "cards"}, [("law", "service"), *LAW]),
        ({"queue": "cards", "owner": "eve"}, [("law", "service"), LAW[0]]),
        ({"branch": "Leeds", "clock": "service"}, [("law", "service")]),
        ({"regime": "uk_disp_standard", "clock": "service"}, [("law", "service")]),
        ({"preset": "service_default"}, [("law", "service"), ("bank", "service")]),
        ({"priority": "3", "queue": "loans"}, [("bank", "service")]),
        ({"customer_id": "nobody"}, []),
    ],
)
def test_deadlines_are_chosen(answer: Answer, chosen: dict[str, str], expected: Any) -> None:
    assert asked(answer, where=chosen) == list(expected)


def test_three_quarters_of_the_time_make_a_deadline_at_risk_and_its_end_overdue(answer: Answer) -> None:
    rows = {(row["case"], row["clock"]): row for row in running_deadlines(answer, NOON)}
    law = rows[LAW[0]]
    quarters = law["starts_at"] + 0.75 * (law["due_at"] - law["starts_at"])
    second = timedelta(seconds=1)
    for now, state in (
        (quarters - second, "in time"),
        (quarters, "at risk"),
        (law["due_at"], "at risk"),
        (law["due_at"] + second, "overdue"),
    ):
        told = {(row["case"], row["clock"]): row["state"] for row in running_deadlines(answer, now)}
        assert told[LAW[0]] == state
        for one in STATES:
            assert asked(answer, now, state=one) == [name for name in rows if told[name] == one], (now, one)
            assert asked(answer, now, state=one, limit=1) == [name for name in rows if told[name] == one][:1]


def test_a_deadline_whose_queue_is_not_folded_yet_is_told_all_the_same(answer: Answer) -> None:
    answer.ask(lambda conn: conn.execute("DELETE FROM kehu.queue_items"))
    rows = list(running_deadlines(answer, NOON))
    assert len(rows) == 4
    assert {(row["queue"], row["state"]) for row in rows} == {(None, "in time")}
