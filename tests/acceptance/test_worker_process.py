"""The command line as its users run it: a worker is killed again and again, and nothing is lost or doubled."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import orjson
import psycopg
import pytest

from domain.survey import SurveyAnswered, SurveyInvited
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka import codec
from tests.support.builders import fact

ROOT = Path(__file__).parents[2]
SURVEYS = 6000


def kehu(*arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infra.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


def lines(count: int) -> bytes:
    """Each invitation with its answer, as CloudEvents."""
    made = []
    for number in range(count):
        customer, invitation = f"c{number % 97}", f"i{number}"
        invited = SurveyInvited(invitation_id=invitation, metric="nps", scale=10, channel="app")
        answered = SurveyAnswered(invitation_id=invitation, score=number % 11)
        made += [
            codec.structured(fact(one, f"{number}-{n}", customer=customer))[1]
            for n, one in enumerate((invited, answered))
        ]
    return b"\n".join(made)


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that another process does, bounded."""
    never = Event()
    for _ in range(int(seconds / 0.05)):
        if happened():
            return
        never.wait(0.05)
    raise TimeoutError("it did not happen in time")


@pytest.fixture
def env(postgres_server: EmbeddedPostgres, tmp_path: Path) -> Any:
    with EmbeddedBroker.start(tmp_path / "broker.log") as broker:
        url = postgres_server.create_database("acceptance")
        yield {**os.environ, "KEHU_POSTGRES": url, "KEHU_KAFKA": broker.bootstrap_servers}


def test_a_worker_that_is_killed_loses_and_doubles_nothing(env: dict[str, str], tmp_path: Path) -> None:
    assert kehu("setup", env=env).returncode == 0
    events = tmp_path / "events.jsonl"
    events.write_bytes(lines(SURVEYS))
    published = kehu("publish", str(events), env=env)
    assert published.stdout.split()[0] == str(2 * SURVEYS), published.stderr

    def one(query: str) -> int:
        with psycopg.connect(env["KEHU_POSTGRES"]) as conn:
            row = conn.execute(query.encode()).fetchone()
        return int(row[0] or 0) if row else 0

    for share in (0.2, 0.5, 1.0):
        with (tmp_path / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", "worker"], cwd=ROOT, env=env, stdout=log, stderr=log
            )
        wanted = int(2 * SURVEYS * share)
        until(lambda wanted=wanted: one("SELECT sum(next_offset) FROM kehu.positions") >= wanted)  # type: ignore[misc]
        if share == 1.0:
            until(lambda: one("SELECT min(position) FROM kehu.projections") >= 3 * SURVEYS)
            worker.send_signal(signal.SIGTERM)
            worker.wait(15)
        else:
            worker.kill()
            worker.wait(15)
    shown = kehu("show", "reconciliation", "--json", env=env)
    assert shown.returncode == 0, shown.stderr
    (surveys,) = [row for row in json.loads(shown.stdout) if row["topic"] == "kehu.surveys"]
    assert (surveys["read"], surveys["appended"], surveys["balanced"]) == (2 * SURVEYS, 2 * SURVEYS, True)
    assert one("SELECT count(*) FROM kehu.stored_events") == 3 * SURVEYS
    assert one("SELECT max(notification_id) FROM kehu.stored_events") == 3 * SURVEYS
    assert one("SELECT sum(invited) FROM kehu.satisfaction_daily") == SURVEYS
    assert one("SELECT sum(answered) FROM kehu.satisfaction_daily") == SURVEYS
    assert len(json.loads(kehu("show", "customer", "c1", "--json", env=env).stdout)) == 50


def test_a_wrong_line_is_named_and_nothing_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    wrong = {**orjson.loads(lines(1).splitlines()[0]), "time": "yesterday"}
    file.write_bytes(lines(1) + b"\n" + orjson.dumps(wrong))
    done = kehu("publish", str(file), "--kafka", "127.0.0.1:1", env=dict(os.environ))
    assert done.returncode == 1
    assert "line 3: bad-time" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    done = kehu("show", "reconciliation", "--postgres", f"host={tmp_path} dbname=x", env=dict(os.environ))
    assert done.returncode == 3
    assert "kehu setup" in done.stderr
    assert "Traceback" not in done.stderr
