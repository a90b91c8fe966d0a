"""A read model is built beside the live one, compared with it, switched to and back; a kill leaves no half view."""

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import date
from itertools import count
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from msgspec import structs

from consumers.projector import Projector
from domain.action import ActionOpened
from domain.complaint import ComplaintDeadlineMissed, ComplaintOpened
from domain.contact import ContactQueued
from domain.customer import CustomerMerged, CustomerProfileChanged, CustomerRegistered, CustomerRestricted
from domain.ports import Batch
from domain.survey import SurveyInvited
from domain.values import BANK
from infra.cli.fillers import fill_builds
from infra.postgres.builds import Builds
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from projections import customer_timeline, satisfaction
from projections.catalogue import ALL
from projections.retention_risk import RETENTION_RISK
from projections.satisfaction import SATISFACTION
from tests.support.builders import NOON
from tests.support.cli import History, kehu
from tests.support.processes import ROOT
from tests.support.rows import recorded

SMALL_BATCHES = "from infra.cli import main, rebuild; rebuild.BATCH = 100; main.main()"
IN_PROCESSES = "from infra.cli import main, rebuild; rebuild.FILL_FROM = 1; main.main()"
INVITATIONS = "SELECT count(*) FROM kehu.satisfaction_invitations"
VERSION = SATISFACTION.version
FIRST, SECOND = f"v{VERSION} build 1", f"v{VERSION} build 2"
SCHEMA = f"satisfaction_v{VERSION}"


def one(postgres: str, query: str) -> Any:
    """The only value of a query."""
    with psycopg.connect(postgres) as conn:
        row = conn.execute(query.encode()).fetchone()
    return row[0] if row else None


def built(postgres: str, *arguments: str) -> dict[str, Any]:
    """What one `kehu rebuild` of satisfaction tells; it succeeds."""
    done = kehu("rebuild", "satisfaction", *arguments, "--postgres", postgres, "--json")
    assert done.code == 0, done.err
    row: dict[str, Any] = done.rows[0]
    return row


def spoil(postgres: str) -> None:
    """Change, remove and add a row of the live invitations by hand."""
    with psycopg.connect(postgres) as conn:
        first = f"(SELECT min(invitation_id) FROM {SCHEMA}.satisfaction_invitations)"
        table = f"{SCHEMA}.satisfaction_invitations"
        conn.execute(f"DELETE FROM {table} WHERE invitation_id = {first}".encode())
        conn.execute(f"UPDATE {table} SET outcome = 'lost' WHERE invitation_id = {first}".encode())
        conn.execute(f"CREATE TEMP TABLE one AS SELECT * FROM {table} LIMIT 1".encode())
        conn.execute("UPDATE one SET invitation_id = 'made-up'")
        conn.execute(f"INSERT INTO {table} SELECT * FROM one".encode())


def invite(log: PostgresLog, name: str) -> None:
    """Append one invitation."""
    invited = SurveyInvited(invitation_id=name, metric="nps", scale=10, channel="app")
    log.append(Batch(events=recorded(invited)))


def something_of_everything(history: History) -> None:
    """Append what leaves a row in tables that the history of a bank leaves empty, and fold it."""
    waiting = ContactQueued(contact_id="waiting", queue="q", channel="phone")
    opened = ActionOpened(action_id="n-1", owner="m-1", due=NOON.date(), description="tell the fee first")
    case = ComplaintOpened(complaint_id="late", channel="app")
    missed = ComplaintDeadlineMissed(
        complaint_id="late", clock="service", preset="service_default", preset_version=1, due_at=NOON
    )
    with closing(PostgresLog(history.postgres)) as log, closing(PostgresReadModels(history.postgres)) as models:
        late, then = recorded(case, missed, customer="late")
        log.append(
            Batch(
                events=[
                    *recorded(waiting),
                    *recorded(opened, customer=BANK),
                    late,
                    structs.replace(then, originator_version=2),
                ]
            )
        )
        Projector(log, models, ALL).run_until_caught_up()


def know_persons(log: PostgresLog) -> None:
    """Append what the bank's customers never say: names, devices that change, a merge, and a wish to be forgotten."""
    registered = CustomerRegistered(name="Ann", email="ann@x.example", device_ids=("d1", "d2"), project_id="p-1")
    changed = CustomerProfileChanged(phone="+44 20 7946 0018", device_ids=("d2", "d3"))
    said = recorded(registered, changed, customer="person") + recorded(
        CustomerMerged(into="person", reason="same", by="desk"), customer="other"
    )
    asked = CustomerRestricted(until=date(2030, 1, 2), basis="our policy", reason="request dr-1", by="desk")
    said += [structs.replace(one, originator_version=2) for one in recorded(asked, customer="other")]
    for event in (said[0], structs.replace(said[1], originator_version=2), *said[2:]):
        log.append(Batch(events=[event]))


def test_rebuilt_read_models_have_the_same_rows_whenever_the_live_ones_were_swept(copied: History) -> None:
    something_of_everything(copied)
    with closing(PostgresLog(copied.postgres)) as log, closing(PostgresReadModels(copied.postgres)) as models:
        know_persons(log)
        Projector(log, models, ALL).run_until_caught_up()
        assert Projector(log, models, [RETENTION_RISK]).sweep(copied.now, 20) == 20
    done = kehu("rebuild", "all", "--postgres", copied.postgres, "--json")
    assert done.code == 0
    rows = {row["projection"]: row for row in done.rows}
    assert set(rows) == {projection.name for projection in ALL}
    assert {row["same_rows"] for row in rows.values()} == {True}
    assert len({row["compared_at"] for row in rows.values()}) == 1
    counted = {table["table"]: table["rows"] for row in rows.values() for table in row["tables"]}
    assert {name: both for name, both in counted.items() if not both[0] == both[1] > 0} == {}


def test_differences_are_told_by_kind_and_readers_see_the_new_build_when_it_is_switched(copied: History) -> None:
    there = one(copied.postgres, INVITATIONS)
    spoil(copied.postgres)
    beside = built(copied.postgres)
    (table,) = (table for table in beside["tables"] if table["table"] == "satisfaction_invitations")
    assert beside["same_rows"] is False
    assert table["counts"] == {"missing": 1, "added": 1, "changed": 1}
    changed = {example["kind"]: example for example in table["examples"]}
    assert changed["missing"]["key"] == {"invitation_id": "made-up"}
    assert changed["changed"]["before"] == {"outcome": "lost"}
    assert changed["changed"]["after"]["outcome"] != "lost"
    assert beside["live"] == FIRST
    assert one(copied.postgres, f"{INVITATIONS} WHERE outcome = 'lost'") == 1
    told = kehu("rebuild", "satisfaction", "--postgres", copied.postgres)
    assert "made-up" in told.out

    assert built(copied.postgres, "--switch")["live"] == SECOND
    assert one(copied.postgres, f"{INVITATIONS} WHERE outcome = 'lost'") == 0
    assert one(copied.postgres, INVITATIONS) == there
    assert built(copied.postgres, "--rollback")["live"] == FIRST
    assert one(copied.postgres, f"{INVITATIONS} WHERE outcome = 'lost'") == 1
    assert built(copied.postgres, "--rollback")["live"] == SECOND
    built(copied.postgres, "--drop")
    assert one(copied.postgres, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'satisfaction\\_v%'") == 1
    gone = kehu("rebuild", "satisfaction", "--rollback", "--postgres", copied.postgres)
    assert (gone.code, "no former build" in gone.err) == (1, True)


def test_the_projector_follows_the_live_build_without_a_restart(copied: History) -> None:
    with closing(PostgresLog(copied.postgres)) as log, closing(PostgresReadModels(copied.postgres)) as models:
        worker = Projector(log, models, ALL)
        worker.run_until_caught_up()
        built(copied.postgres, "--switch")
        invite(log, "after-the-switch")
        worker.run_until_caught_up()
        assert one(copied.postgres, f"{INVITATIONS} WHERE invitation_id = 'after-the-switch'") == 1
        assert one(copied.postgres, INVITATIONS.replace("kehu.", f"{SCHEMA}_b2.")) == one(copied.postgres, INVITATIONS)
        # The former build is caught up before it is shown again: with the switch, which is told, and the invitation.
        assert built(copied.postgres, "--rollback")["events"] == 2
        assert one(copied.postgres, f"{INVITATIONS} WHERE invitation_id = 'after-the-switch'") == 1
        worker.run_until_caught_up()
        assert worker.run_once() == 0


def test_readers_never_see_a_half_view(copied: History) -> None:
    there, seen, over = one(copied.postgres, INVITATIONS), set(), Event()

    def read() -> None:
        with psycopg.connect(copied.postgres, autocommit=True) as conn:
            while not over.is_set():
                seen.add(conn.execute(INVITATIONS.encode()).fetchone())

    reader = Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            built(copied.postgres, "--switch")
    finally:
        over.set()
        reader.join()
    assert seen == {(there,)}


@pytest.mark.parametrize("step", ["folded@4", "saving@4", "saved@4"])
def test_a_rebuild_that_was_killed_goes_on_where_it_was(copied: History, step: str) -> None:
    filled = built(copied.postgres)["events"]
    with closing(PostgresLog(copied.postgres)) as log, closing(PostgresReadModels(copied.postgres)) as models:
        for number in range(500):
            invite(log, f"later-{number}")
        Projector(log, models, [SATISFACTION]).run_until_caught_up()
    there = one(copied.postgres, INVITATIONS)
    command = [sys.executable, "-c", SMALL_BATCHES, "rebuild", "satisfaction", "--switch"]
    env = {**os.environ, "KEHU_POSTGRES": copied.postgres, "KEHU_FAIL": f"{step}=kill"}
    killed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -9, killed.stderr
    assert one(copied.postgres, INVITATIONS) == there
    left = one(copied.postgres, "SELECT position FROM kehu.projection_builds WHERE state = 'candidate'")
    assert left == filled + (400 if step.startswith("saved") else 300)
    went_on = built(copied.postgres, "--switch")
    assert went_on["live"] == SECOND
    assert went_on["events"] == went_on["compared_at"] - left
    assert went_on["same_rows"] is True
    assert one(copied.postgres, INVITATIONS) == there


def test_builds_that_are_filled_by_processes_have_the_same_rows(
    copied: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    something_of_everything(copied)
    monkeypatch.setattr("infra.cli.rebuild.FILL_FROM", 1)
    with closing(PostgresLog(copied.postgres)) as log, closing(PostgresReadModels(copied.postgres)) as models:
        know_persons(log)
        Projector(log, models, ALL).run_until_caught_up()
    for processes in ("1", "2"):
        done = kehu("rebuild", "all", "--processes", processes, "--postgres", copied.postgres, "--json")
        assert done.code == 0, done.err
        assert {row["projection"] for row in done.rows} == {projection.name for projection in ALL}
        assert {row["same_rows"] for row in done.rows} == {True}
        assert all(table["rows"][1] > 0 for row in done.rows for table in row["tables"])
        assert kehu("rebuild", "all", "--drop", "--postgres", copied.postgres).code == 0


@pytest.mark.parametrize(("processes", "step"), [("1", "filled"), ("2", "filled"), ("1", "indexed"), ("2", "indexed")])
def test_a_kill_while_builds_are_filled_leaves_no_half_view(copied: History, processes: str, step: str) -> None:
    rows = "SELECT count(*) FROM kehu.retention_risk"
    there = one(copied.postgres, rows)
    command = [sys.executable, "-c", IN_PROCESSES, "rebuild", "all", "--switch", "--processes", processes]
    env = {**os.environ, "KEHU_POSTGRES": copied.postgres, "KEHU_FAIL": f"{step}@1=kill"}
    killed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60, check=False)
    assert killed.returncode != 0
    assert one(copied.postgres, "SELECT max(position) FROM kehu.projection_builds WHERE state = 'candidate'") == 0
    assert one(copied.postgres, rows) == there
    done = kehu("rebuild", "all", "--switch", "--postgres", copied.postgres, "--json")
    assert done.code == 0, done.err
    assert {row["same_rows"] for row in done.rows} == {True}
    compared = [row["compared_at"] for row in done.rows]
    switched = range(len(compared))  # each switch is an event, which those that are switched later have as well
    assert [row["events"] for row in done.rows] == [compared[0] + before for before in switched]
    assert one(copied.postgres, rows) == there


def test_a_filled_build_has_the_keys_and_indexes_of_the_live_one(copied: History) -> None:
    indexes = """SELECT array_agg(name ORDER BY name) FROM (SELECT regexp_replace(indexdef, ' ON .* USING', '') AS name
        FROM pg_indexes WHERE schemaname ~ '{}$') i"""
    keys = """SELECT array_agg(name ORDER BY name) FROM (SELECT conname AS name FROM pg_constraint
        WHERE contype = 'p' AND connamespace::regnamespace::text ~ '{}$') c"""
    assert kehu("rebuild", "all", "--postgres", copied.postgres).code == 0
    for asked in (indexes, keys):
        live = one(copied.postgres, asked.format("_v[0-9]"))
        assert len(live) >= sum(len(projection.tables) for projection in ALL)
        assert one(copied.postgres, asked.format("_v[0-9]_b2")) == live


def test_a_fold_that_fails_while_a_build_is_filled_ends_the_command_with_its_place(
    copied: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.cli.rebuild.FILL_FROM", 1)
    monkeypatch.delitem(customer_timeline.SUMMARIES, "survey.invited")
    done = kehu("rebuild", "customer_timeline", "--processes", "1", "--switch", "--postgres", copied.postgres)
    assert done.code == 1
    assert "customer_timeline: at position" in done.err
    assert "(survey.invited): KeyError" in done.err


@pytest.mark.parametrize("ours", [True, False], ids=["in this process", "in another one"])
def test_an_event_that_cannot_be_folded_ends_all_processes_with_its_place(copied: History, ours: bool) -> None:
    slices = "(hashtext(customer_id) & 65535) % 2"
    position = one(
        copied.postgres, f"SELECT max(notification_id) FROM kehu.stored_events WHERE {slices} = {0 if ours else 1}"
    )
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(f"UPDATE kehu.stored_events SET state = '{{}}' WHERE notification_id = {position}".encode())
    command = [sys.executable, "-c", IN_PROCESSES, "rebuild", "all", "--switch", "--processes", "2"]
    env = {**os.environ, "KEHU_POSTGRES": copied.postgres}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"the log at position {position} (".encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert one(copied.postgres, "SELECT max(position) FROM kehu.projection_builds WHERE state = 'candidate'") == 0


def test_a_new_version_is_built_beside_the_old_one_and_can_be_switched_back(
    copied: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = one(copied.postgres, INVITATIONS)
    second = replace(SATISFACTION, version=VERSION + 1)
    monkeypatch.setattr("infra.cli.projections.ALL", (second,))
    with closing(PostgresLog(copied.postgres)) as log, closing(PostgresReadModels(copied.postgres)) as models:
        models.create(second)
        assert Projector(log, models, [second]).run_once() == 0, "the views still show the former version"
        beside = built(copied.postgres)
        assert (beside["live"], beside["version"], beside["same_rows"]) == (FIRST, VERSION + 1, True)
        assert built(copied.postgres, "--switch")["live"] == f"v{VERSION + 1} build 1"
        invite(log, "in-the-new-version")
        assert Projector(log, models, [second]).run_until_caught_up() == log.head()
    assert one(copied.postgres, INVITATIONS) == there + 1
    checks = {row["check"]: row for row in kehu("doctor", "--postgres", copied.postgres, "--json").rows}
    assert checks["projection satisfaction"]["verdict"] == "warning"
    assert f"version {VERSION + 1} is live" in checks["projection satisfaction"]["detail"]
    assert checks["read models"]["verdict"] == "ok"
    asked = kehu("show", "satisfaction", "--postgres", copied.postgres)
    assert (asked.code, f"asked is version {VERSION}" in asked.err) == (1, True)
    refused = kehu("rebuild", "satisfaction", "--rollback", "--postgres", copied.postgres)
    assert refused.code == 1
    monkeypatch.undo()
    assert built(copied.postgres, "--rollback")["live"] == FIRST
    assert one(copied.postgres, INVITATIONS) == there + 1


def test_two_rebuilds_of_one_projection_do_not_run_at_the_same_time(copied: History) -> None:
    with closing(Builds(copied.postgres)) as other:
        other.claim("satisfaction")
        refused = kehu("rebuild", "satisfaction", "--postgres", copied.postgres)
        assert refused.code == 1
        assert "Another process works on the builds" in refused.err
    built(copied.postgres)


def test_a_rebuild_that_cannot_fold_an_event_fails_and_leaves_the_live_one(
    copied: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = one(copied.postgres, INVITATIONS)
    monkeypatch.delitem(satisfaction.FOLDS, "survey.scored")
    done = kehu("rebuild", "satisfaction", "--switch", "--postgres", copied.postgres)
    assert done.code == 1
    assert "satisfaction: at position" in done.err
    assert "(survey.scored): KeyError" in done.err
    assert one(copied.postgres, INVITATIONS) == there
    monkeypatch.undo()
    mended = built(copied.postgres, "--switch")
    assert mended["events"] == mended["compared_at"], "it begins anew: the code is another now"
    assert mended["same_rows"] is True


def test_a_worker_that_folds_at_the_same_time_is_compared_at_its_position(
    copied: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(PostgresLog(copied.postgres)) as log, closing(PostgresReadModels(copied.postgres)) as models:
        worker, fold, numbers, calls = Projector(log, models, ALL), Projector.run_once, count(), count()

        def work(events: int) -> None:
            for _ in range(events):
                invite(log, f"meanwhile-{next(numbers)}")
            fold(worker)

        def fill_slowly(*arguments: Any) -> None:
            fill_builds(*arguments)
            work(10)  # which is more than may be left when the live one is held

        def after_the_worker(ours: Projector) -> int:
            if ours.models is not models and next(calls) < 2:
                work(1)
            return fold(ours)

        monkeypatch.setattr("infra.cli.rebuild.fill_builds", fill_slowly)
        monkeypatch.setattr(Projector, "run_once", after_the_worker)
        monkeypatch.setattr("infra.cli.rebuild.NEAR", 5)
        monkeypatch.setattr("infra.cli.rebuild.BATCH", 4)
        beside = built(copied.postgres, "--switch")
        monkeypatch.undo()
        assert beside["same_rows"] is True
        assert beside["compared_at"] == log.head() - 1  # that it was switched is told behind it
        worker.run_until_caught_up()
        assert one(copied.postgres, f"{INVITATIONS} WHERE invitation_id LIKE 'meanwhile-%'") == 12
