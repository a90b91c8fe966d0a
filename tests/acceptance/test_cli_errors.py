"""Every command explains itself, and every error is one line with its remedy."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from infra import bootstrap
from infra.cli.main import app
from tests.support.cli import History, free_port, kehu

ROOT = Path(__file__).parents[2]


def _commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: Any, path: tuple[str, ...]) -> None:
        for name, one in getattr(command, "commands", {}).items():
            walk(one, (*path, name))
        if not hasattr(command, "commands"):
            found.append(path)

    walk(get_command(app), ())
    return found


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: tuple[str, ...]) -> None:
    done = kehu(*command, "--help")
    assert done.code == 0
    assert f"Example: kehu {' '.join(command)}" in done.out


@pytest.mark.parametrize("kind", ["postgres", "kafka"])
def test_a_server_that_is_named_before_the_command_is_asked_and_not_that_of_the_environment(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEHU_POSTGRES", "host=/of-the-environment dbname=x")
    monkeypatch.setenv("KEHU_KAFKA", "127.0.0.1:1")
    named = {"postgres": "host=/named dbname=x", "kafka": "127.0.0.1:2"}[kind]
    command = {"postgres": ("erase", "c-1", "--reason", "r"), "kafka": ("publish", os.devnull)}[kind]
    done = kehu(f"--{kind}", named, *command)
    assert done.code != 0
    assert named.split()[0].removeprefix("host=") in done.err


def test_what_is_named_behind_a_command_goes_before_what_is_named_before_it() -> None:
    done = kehu("--postgres", "host=/before dbname=x", "show", "customers", "--postgres", "host=/behind dbname=x")
    assert "/behind" in done.err


NOWHERE = ("--postgres", "host=/nowhere dbname=x")


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (("show", "satisfaction", "--where", "colour=red"), 2, "write NAME=VALUE with one of metric"),
        (("show", "queues", "--where", "branch=a", "--where", "branch=b"), 2, "branch is given twice"),
        (("show", "satisfaction", "--where", "day=monday"), 2, "a day is written like day=2026-03-02"),
        (("show", "satisfaction", "--where", "scale=ten"), 2, "a scale is written like scale=5"),
        (("show", "satisfaction", "--by", "colour"), 2, "use day, channel"),
        (("show", "satisfaction", "--days", "8"), 2, "use 7, 30 or 90"),
        (("show", "satisfaction", "--until", "2026-03-02"), 2, "give --days"),
        (("show", "answers", "--until", "2026-03-02"), 2, "give --days"),
        (("show", "causes", "--days", "8"), 2, "use 7, 30 or 90"),
        (("show", "queues", "--kind", "letter"), 2, "use contact or case"),
        (("show", "retention-risk", "--band", "red"), 2, "use high, medium"),
        (("show", "customer", "nobody"), 1, "Nothing is stored about this customer"),
        (("show", "retention-risk", "--customer", "nobody"), 1, "Nothing is stored about this customer"),
        (("show", "queues", "--json", "--csv"), 2, "choose one"),
        (("dead-letters", "show", "999999"), 1, "`kehu dead-letters list` shows them"),
        (("dead-letters", "replay"), 2, "say which"),
        (("dead-letters", "replay", "1", "--all"), 2, "say which"),
        (("dead-letters", "replay", "999999"), 1, "no dead letter with this id"),
        (("parked", "show", "999999"), 1, "`kehu parked list` shows what waits"),
        (("parked", "show", "one"), 2, "valid integer"),
        (("rebuild", "weather"), 1, "use satisfaction"),
        (("publish", "/no/such/file"), 2, "No such file"),
        (("show", "reconciliation", "--topic", "kehu.weather"), 2, "use kehu.customers"),
        (("show", "weather"), 2, "No such command 'weather'"),
        (("show", "queues", *NOWHERE), 3, "Check --postgres"),
        (("rebuild", "all", *NOWHERE), 3, "Check"),
        (("show", "queues", "--postgres", "nonsense"), 2, "write it like"),
        (("show", "reconciliation", "--kafka", "nonsense"), 2, "write it like host:9092"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_an_error_is_one_line_with_its_remedy(history: History, asked: tuple[str, ...], code: int, told: str) -> None:
    done = history(*asked)
    assert done.code == code
    (line,) = [line for line in done.err.splitlines() if line.startswith("kehu: ")]
    assert told in line
    assert "Traceback" not in done.err


def test_a_server_that_nobody_named_is_asked_for() -> None:
    done = kehu("show", "queues")
    assert (done.code, "KEHU_POSTGRES" in done.err) == (2, True)
    done = kehu("setup", "--postgres", "dbname=x")
    assert (done.code, "KEHU_KAFKA" in done.err) == (2, True)


def test_a_broker_that_is_away_is_told_within_seconds(history: History) -> None:
    started = bootstrap.now()
    done = history("show", "reconciliation", "--kafka", f"127.0.0.1:{free_port()}")
    assert (done.code, "A server does not answer" in done.err) == (3, True)
    assert bootstrap.now() - started < timedelta(seconds=8)


def test_an_error_that_nobody_foresaw_is_one_line(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.cli.queues.summaries", lambda *_given: 1 / 0)
    done = history("show", "queues")
    assert done.code == 70
    assert done.err.startswith("kehu: ZeroDivisionError")
    assert "KEHU_TRACEBACK=1" in done.err


def test_a_reader_that_has_enough_is_no_error(history: History) -> None:
    env = {**os.environ, "KEHU_POSTGRES": history.postgres}
    command = (
        f"{sys.executable} -m infra.cli show retention-risk --json --limit 100000 | head -c 1; exit ${{PIPESTATUS[1]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{", "")


def test_output_that_finds_no_room_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "infra.cli", "rules", "--json"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "what is printed cannot be written: No space left on device. Make room" in done.stderr
    assert "foreseen" not in done.stderr
