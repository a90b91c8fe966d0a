"""Where master keys come from: a key for development is only for a database on this machine, and files only grow."""

from pathlib import Path

import pytest

from infra.appending import append
from infra.master_keys import KeyFileMissing, KeyFileNotWritten, add_to_file, is_near, make_file, read_file


@pytest.mark.parametrize(
    ("postgres", "environment", "near"),
    [
        ("dbname=kehu", {}, True),
        ("host=/tmp/socket", {}, True),
        ("host=localhost,127.0.0.1", {}, True),
        ("postgresql://[::1]/kehu", {}, True),
        ("host=bank.example hostaddr=127.0.0.1", {}, True),
        ("host=db.bank.example", {}, False),
        ("host=localhost,db.bank.example", {}, False),
        ("host=localhost hostaddr=10.0.0.9", {}, False),
        ("host=db.bank.example,localhost hostaddr=,127.0.0.1", {}, False),
        ("service=prod", {}, False),
        ("service=prod host=localhost", {}, False),
        ("", {"PGSERVICE": "prod"}, False),
        ("", {"PGHOST": "db.bank.example"}, False),
        ("host=localhost", {"PGHOSTADDR": "10.0.0.9"}, False),
        ("hostaddr=127.0.0.1", {"PGHOSTADDR": "10.0.0.9"}, True),
    ],
)
def test_a_database_is_near_when_nothing_leads_elsewhere(
    monkeypatch: pytest.MonkeyPatch, postgres: str, environment: dict[str, str], near: bool
) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_near(postgres) == near


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_key_is_added_after_the_last_one_however_its_line_ends(tmp_path: Path, end: str) -> None:
    file = tmp_path / "master.key"
    assert make_file(file)
    file.write_text(file.read_text().strip() + end)
    (first,) = read_file(file)
    add_to_file(file)
    keys = read_file(file)
    assert (keys[0], len(keys)) == (first, 2)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileNotWritten, match=r"no/master\.key: No such file"):
        make_file(tmp_path / "no" / "master.key")


def test_a_key_file_that_is_gone_is_to_be_put_back_before_anybody_makes_another(tmp_path: Path) -> None:
    with pytest.raises(KeyFileMissing) as raised:
        read_file(tmp_path / "master.key")
    told = str(raised.value)
    assert told.index("Put it back from its copy") < told.index("Only for a new bank") < told.index("kehu keys make")
    assert str(tmp_path / "master.key") in told


def test_what_stands_in_a_file_stays_when_lines_are_added(tmp_path: Path) -> None:
    file = tmp_path / "told.jsonl"
    append(file, [b"one"])
    file.write_bytes(file.read_bytes() + b"tw")
    append(file, [b"two", b"three"])
    append(file, [])
    assert file.read_bytes() == b"one\ntw\ntwo\nthree\n"
