"""A bank's own rules as its people use them: a folder on the path, read by every command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from domain.rules.own import SUBJECTS
from infra.cli.run import PresetsMissing, require_presets
from tests.support.cli import History, kehu
from tests.support.project import ROOT
from tests.unit.test_own_rules import COST, OWN_PRESET, RETURN, write

OPENS = """
from domain.complaint import ComplaintOpened
from domain import handling
from tests.support.builders import NOON, fact
opened = ComplaintOpened(complaint_id="p", channel="app", regime="own_mortgage")
_, events = handling.handle(None, fact(opened, at=NOON))
print([(e.preset, e.preset_version, e.due_at.isoformat()) for e in events[1:2]])
"""


def entered(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with a bank's folder on the path."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    return subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, check=False)


def test_cases_get_the_presets_of_the_banks_own_folder(tmp_path: Path) -> None:
    """Five business days after Monday, the second of March 2026, to the end of the day in London."""
    own = tmp_path / "kehu_bank_rules"
    own.mkdir()
    write(write(own, "presets", OWN_PRESET), "costs", COST)
    write(own, "returns", RETURN.replace("cn_2020", "own_mortgage"))
    done = entered(tmp_path, "-c", OPENS)
    assert done.stdout.strip() == "[('own_mortgage', 1000, '2026-03-09T23:59:59.999999+00:00')]", done.stderr
    listed = json.loads(entered(tmp_path, "-m", "infra.cli", "rules", "--own", "--json").stdout)
    assert [(row["subject"], row["name"], row["version"], row["applies"]) for row in listed] == [
        ("presets", "own_mortgage", 1000, True),
        ("costs", "service", 1000, True),
        ("returns", "own_board", 1000, True),
    ]


def test_a_folder_that_cannot_be_used_stops_every_command_with_one_line(tmp_path: Path) -> None:
    own = tmp_path / "kehu_bank_rules"
    own.mkdir()
    write(own, "preset", OWN_PRESET)
    done = entered(tmp_path, "-m", "infra.cli", "rules")
    assert done.returncode == 2
    assert done.stderr.startswith("kehu: A rule cannot be used.")
    assert "kehu_bank_rules/preset.toml: nothing is read from it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_worker_without_the_presets_of_open_cases_does_not_start(copied: History) -> None:
    require_presets(copied.postgres)
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(
            "UPDATE kehu.deadlines SET service_preset = 'own_x', service_version = 1000 WHERE case_id = 'told-2'"
        )
    with pytest.raises(PresetsMissing, match="own_x version 1000"):
        require_presets(copied.postgres)
    require_presets("host=/nowhere dbname=x")  # a worker waits for it


def test_the_rules_of_the_release_are_listed_by_subject() -> None:
    rows = kehu("rules", "--json").rows
    assert {row["subject"] for row in rows} == set(SUBJECTS)
    assert not any(row["own"] for row in rows)
    assert kehu("rules", "--subject", "costs", "--json").rows == [row for row in rows if row["subject"] == "costs"]
    assert kehu("rules", "--name", "uk_disp_psd", "--released", "--json").rows[0]["version"] == 1
    wrong = kehu("rules", "--subject", "mood")
    assert (wrong.code, "use presets, calendars" in wrong.err) == (2, True)
