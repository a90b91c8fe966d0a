"""What operators do with read models: see how they stand, let them rest and go on, and try again."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import psycopg
import pytest
from msgspec.structs import replace

from consumers.projector import Projector
from domain.ports import Batch
from domain.survey import SurveyInvited
from domain.values import Recorded
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL
from projections.declare import Rows
from projections.satisfaction import SATISFACTION
from tests.support.cli import Done, History, kehu
from tests.support.rows import recorded

SHOWN = [("satisfaction",), ("customer", "c-told"), ("queues",), ("cases",), ("retention-risk",)]


@pytest.fixture
def worker(copied: History) -> Iterator[Projector]:
    """A projector as a worker runs it, and a log with two new events."""
    with closing(PostgresLog(copied.postgres)) as log, closing(PostgresReadModels(copied.postgres)) as models:
        invited = [SurveyInvited(invitation_id=f"new-{n}", metric="nps", scale=10, channel="app") for n in (1, 2)]
        log.append(
            Batch(events=[replace(one, originator_id=f"survey-new-{n}") for n, one in enumerate(recorded(*invited))])
        )
        yield Projector(log, models, ALL)


def asked(history: History, *arguments: str) -> Done:
    """One `kehu projections` command that succeeds."""
    done = kehu("projections", *arguments, "--postgres", history.postgres)
    assert done.code == 0, done.err
    return done


def statuses(history: History) -> dict[str, tuple[str, int]]:
    """Status and events behind of each."""
    return {row["name"]: (row["status"], row["behind"]) for row in asked(history, "status", "--json").rows}


def test_a_read_model_rests_and_goes_on_while_the_others_run(copied: History, worker: Projector) -> None:
    asked(copied, "pause", "satisfaction")
    worker.run_until_caught_up()
    expected = {projection.name: ("running", 0) for projection in ALL}
    assert statuses(copied) == {**expected, "satisfaction": ("paused", 3)}
    assert (
        "paused at position"
        in {row["check"]: row["detail"] for row in copied("doctor", "--json").rows}["projection satisfaction"]
    )
    asked(copied, "resume", "satisfaction")
    worker.run_until_caught_up()
    assert statuses(copied) == expected


def test_a_read_model_that_stopped_says_where_and_why_and_tries_again_without_a_restart(
    copied: History, worker: Projector
) -> None:
    wrong = True

    def fold(rows: Rows, event: Recorded) -> None:
        if wrong:
            raise ValueError("broken")
        SATISFACTION.fold(rows, event)

    worker.projections = [dataclasses.replace(SATISFACTION, fold=fold), *ALL[1:]]
    head = worker.run_until_caught_up()
    assert statuses(copied)["satisfaction"] == ("stopped", 2)
    assert {status for name, status in statuses(copied).items() if name != "satisfaction"} == {("running", 0)}
    assert f"at position {head - 1} (survey.invited): ValueError: broken" in asked(copied, "status", "--json").out
    assert worker.run_once() == 0, "it does not try by itself"
    wrong = False
    assert worker.run_once() == 0, "it does not try by itself"
    asked(copied, "retry", "satisfaction")
    worker.run_until_caught_up()
    assert statuses(copied)["satisfaction"] == ("running", 0)
    assert worker.stopped == {}


def test_all_is_complete_until_something_was_skipped(copied: History, worker: Projector) -> None:
    worker.run_until_caught_up()
    assert {row["verdict"] for row in asked(copied, "check", "--json").rows} == {"complete"}
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(
            "UPDATE kehu.projection_folds SET events = events - 1 WHERE name = 'satisfaction' AND range_start = 256"
        )
    done = kehu("projections", "check", "satisfaction", "--postgres", copied.postgres, "--json")
    assert done.code == 1
    assert [(row["verdict"], row["first"], row["last"]) for row in done.rows] == [("missing", 257, 512)]
    rows = {row["check"]: row for row in copied("doctor", "--json").rows}
    assert rows["projection satisfaction"]["detail"] == "positions 257 to 512: missing"
    assert "kehu rebuild satisfaction --switch" in rows["projection satisfaction"]["remedy"]


def test_a_read_model_that_does_not_exist_is_an_error(copied: History) -> None:
    done = kehu("projections", "pause", "nothing", "--postgres", copied.postgres)
    assert done.code == 1
    assert "satisfaction" in done.err


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_what_is_shown_may_be_asked_to_be_as_new_as_a_position(copied: History, command: tuple[str, ...]) -> None:
    with closing(PostgresLog(copied.postgres)) as log:
        head = log.head()
    assert copied("show", *command, "--json", "--min-position", str(head)).code == 0
    behind = copied("show", *command, "--min-position", str(head + 1), "--wait", "0.05")
    assert behind.code == 4
    assert f"is at position {head} of {head + 1} after 0.05 s" in behind.err
    assert "Check that a `kehu worker` runs" in behind.err


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_an_answer_says_how_fresh_it_is(copied: History, worker: Projector, command: tuple[str, ...]) -> None:
    (before,) = {one["position"] for one in json.loads(copied("show", *command, "--json").out)["freshness"].values()}
    old = [*json.loads(copied("show", *command, "--json").out)["freshness"].values()]
    assert all(one["behind"] == 2 and one["lag_seconds"] > 0 for one in old)
    assert f"shows position {before:,} of" in copied("show", *command).out
    assert "2 behind for" in copied("show", *command, "--csv").err
    worker.run_until_caught_up()
    new = [*json.loads(copied("show", *command, "--json").out)["freshness"].values()]
    assert [(one["position"], one["behind"], one["lag_seconds"]) for one in new] == [(before + 2, 0, 0)] * len(old)
    with psycopg.connect(copied.postgres) as conn:
        stored = conn.execute("SELECT recorded_at FROM kehu.event_log WHERE position = %s", (before + 2,)).fetchone()
    assert stored == (datetime.fromisoformat(new[0]["recorded_at"]),)
    assert "behind" not in copied("show", *command, "--ndjson").err
