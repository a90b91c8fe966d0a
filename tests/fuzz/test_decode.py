"""Inputs that were kept, the hardest shapes among them, and a short run of the fuzzer."""

from pathlib import Path

import pytest

from tests.fuzz import decode

KEPT = sorted(decode.SEEDS.glob("*.json"))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_what_was_kept_is_read_or_refused(file: Path) -> None:
    assert decode.tried(decode.kept(file))


def test_damaged_messages_are_read_or_refused_by_a_rule() -> None:
    rules, failed = decode.run(5000, seed=7)
    assert failed == []
    assert rules.total() == 5000
    assert len(rules) > 15
    assert rules["read"] > 100


def test_an_input_that_fails_is_kept_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "SEEDS", tmp_path / "fuzz")

    def fails(*_of: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(decode, "_decode", fails)
    _, failed = decode.run(20, seed=1, say=lambda _line: None)
    assert len(failed) == 20
    messages = [decode.kept(file) for file in failed]
    monkeypatch.undo()
    assert {decode.tried(message) for message in messages}
