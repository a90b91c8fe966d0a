"""Forecasts and staffing, asked of the read model in PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from consumers.projector import Projector
from domain.complaint import ComplaintClockSet, ComplaintOpened, ComplaintResolved
from domain.contact import ContactEnded, ContactQueued, ContactStarted
from domain.values import Event
from infra.cli.servers import connected
from infra.memory.log import MemoryLog
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.forecast import Forecasts
from infra.postgres.questions.queues import open_cases
from infra.postgres.questions.staffing import staffing_of
from infra.postgres.read_models import PostgresReadModels
from projections.measures.staffing import erlang_c
from projections.service_queues import RULES, SERVICE_QUEUES
from tests.support.builders import NOON
from tests.support.rows import Dated, recorded

HOUR = timedelta(hours=1)


def case(name: str, took: int | None, due: int, queue: str = "cards") -> list[Event | Dated]:
    """A case that was received so long ago that it is due in `due` hours after 6 hours, or took so many."""
    start = NOON - 6 * HOUR if took is None else NOON - 30 * HOUR
    opened = ComplaintOpened(complaint_id=name, channel="app", queue=queue)
    clock = ComplaintClockSet(
        complaint_id=name,
        clock="service",
        preset="service_always",
        preset_version=1,
        starts_at=start,
        due_at=start + due * HOUR,
        because="opened",
    )
    response = ComplaintResolved(complaint_id=name, outcome="upheld", reasons="r", onward_rights="o")
    return [(opened, start), (clock, start), *([] if took is None else [(response, start + took * HOUR)])]


def contact(number: int, days: int) -> list[Event | Dated]:
    """A contact of five minutes."""
    at, name = NOON - timedelta(days=days), f"k{number}"
    ended = ContactEnded(contact_id=name, resolved=True, wrap_up_seconds=60)
    queued = ContactQueued(contact_id=name, queue="phone", channel="phone")
    return [(queued, at), (ContactStarted(contact_id=name), at), (ended, at + timedelta(seconds=240))]


@pytest.fixture
def answer(database: str) -> Iterator[Answer]:
    """Twelve finished cases of 1 to 12 hours, three open ones, one of a kind of its own; and a week of contacts."""
    happened = [one for n in range(1, 13) for one in case(f"done-{n}", n, 24)]
    happened += [*case("open-9", None, 9), *case("open-30", None, 30), *case("late", None, 5)]
    happened += case("other", None, 9, queue="fraud")
    happened += [one for n in range(70) for one in contact(n, n % 7 + 1)]
    happened += [one for n in range(70, 90) for one in contact(n, 3)]
    log = MemoryLog()
    log.events = recorded(*happened)
    with closing(PostgresReadModels(database)) as models:
        models.create(SERVICE_QUEUES)
        projector = Projector(log, models, [SERVICE_QUEUES])
        projector.run_until_caught_up()
        assert projector.stopped == {}
    with closing(connected(database)) as conn:
        yield Answer(conn, SERVICE_QUEUES)


def test_a_case_is_judged_by_how_long_cases_of_its_kind_take(answer: Answer) -> None:
    """After six hours twelve less six are left, and three open ones were lost sight of at six; S(6) cancels out."""
    found = {row["case"]: row["breach"] for row in open_cases(answer, NOON, forecasts=Forecasts(answer, NOON))}
    assert found["open-9"] == pytest.approx(3 / 6)
    assert found["open-30"] == pytest.approx(0.0)
    assert found["late"] == 1.0
    assert found["other"] == pytest.approx(3 / 6), "too few of its queue were finished: all of its type tell"
    assert all("breach" not in row for row in open_cases(answer, NOON))


def test_the_breaches_to_expect_are_the_sum_of_what_falls_due(answer: Answer) -> None:
    assert Forecasts(answer, NOON).expected() == [
        {"queue": "cards", "expected_24h": pytest.approx(0.5), "expected_7d": pytest.approx(0.5), "untold": 0},
        {"queue": "fraud", "expected_24h": pytest.approx(0.5), "expected_7d": pytest.approx(0.5), "untold": 0},
    ]


def test_where_too_few_were_finished_nothing_is_foretold(answer: Answer) -> None:
    forecasts = Forecasts(answer, NOON, least=13)
    assert {row["case"]: row["breach"] for row in open_cases(answer, NOON, forecasts=forecasts)} == {
        "late": 1.0,
        "open-9": None,
        "other": None,
        "open-30": None,
    }
    assert [row["untold"] for row in forecasts.expected()] == [2, 1]


def test_as_many_agents_are_needed_as_erlang_says(answer: Answer) -> None:
    busiest, mean = staffing_of(answer, NOON, 7, 1.0, "phone")
    assert (busiest["contacts"], mean["contacts"], busiest["handling_time"]) == (30, 12.9, 300.0)
    rule = RULES.at(NOON)
    enough = erlang_c(30 / 3600, 300, busiest["agents"], rule.answer_within_seconds)
    fewer = erlang_c(30 / 3600, 300, busiest["agents"] - 1, rule.answer_within_seconds)
    assert enough is not None
    assert enough.service_level >= rule.service_level
    assert fewer is None or fewer.service_level < rule.service_level
    assert mean["agents"] < busiest["agents"]
    assert staffing_of(answer, NOON, 7, 1.0, "cards") == []
