"""Inputs that were kept, the hardest shapes among them, and a short run of the fuzzer."""

from inspect import getsource
from pathlib import Path

import pytest

from infra.kafka import envelopes
from tests.fuzz import decode

KEPT = sorted(decode.SEEDS.glob("*.json"))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_what_was_kept_is_read_or_refused(file: Path) -> None:
    assert decode.tried(decode.kept(file))


def test_damaged_messages_are_read_or_refused_by_a_rule() -> None:
    tally = decode.run(5000, seed=7)
    assert tally.failures == {}
    assert tally.rules.total() == 5000
    assert len(tally.rules) > 15
    assert tally.rules["read"] > 100


def test_an_input_that_fails_is_kept_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "SEEDS", tmp_path / "fuzz")

    def fails(*_of: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(decode, "_decode", fails)
    said: list[str] = []
    tally = decode.run(50, seed=1, say=said.append)
    assert tally.failures.total() == 50
    assert len(tally.kept) == decode.ALIKE
    tally.tell()
    assert said[-1] == "50 inputs, 50 failed"
    messages = [decode.kept(file) for file in tally.kept]
    monkeypatch.undo()
    assert {decode.tried(message) for message in messages}


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (" or not has_usual_ids(said.data)", ""),
        (" or said.subject.encode() != message.key", ""),
        ("if topics[type(said)] != message.partition.topic or", "if"),
        ("if not limits.earliest <= at <= now + limits.ahead", "if False"),
        ("if at.tzinfo is not UTC and not has_usual_offset(at)", "if at.tzinfo is None"),
        (""" or b"\\\\u0000" in value""", ""),
        ("message.headers not in USUAL_HEADERS", "False"),
    ],
)
def test_a_short_way_that_is_wrong_is_found(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = getsource(envelopes.read)
    assert right in source
    made = dict(vars(envelopes))
    exec(source.replace(right, wrong), made)
    monkeypatch.setattr(envelopes, "read", made["read"])
    monkeypatch.setattr(decode, "SEEDS", tmp_path / "fuzz")
    assert decode.run(20_000, seed=1, say=lambda _line: None).failures
