"""The guided fuzzer: how it writes messages down, how it begins, and what it does with inputs that end the process."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ports import Message
from tests.fuzz import decode, guided


@pytest.mark.parametrize("message", decode.good(), ids=lambda message: message.key)
def test_a_message_comes_back_as_it_was_written(message: Message) -> None:
    assert guided.to_message(guided.to_bytes(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message(said: bytes) -> None:
    assert decode.tried(guided.to_message(said))


def test_it_begins_with_messages_that_are_read(tmp_path: Path) -> None:
    guided.begin(tmp_path)
    rules = [decode.tried(guided.to_message(file.read_bytes())) for file in sorted(tmp_path.iterdir())]
    assert rules.count("read") >= len(decode.good())


def test_an_input_that_ended_the_process_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "SEEDS", tmp_path / "fuzz")
    message = decode.good()[0]
    (tmp_path / "crash-0123").write_bytes(guided.to_bytes(message))
    (tmp_path / "words").write_text("no input")
    (kept,) = guided.keep_ends(tmp_path)
    assert decode.kept(kept) == message


def test_without_atheris_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)
    assert guided.main(["--inputs", "1"]) == 2
    assert "pip install" in capsys.readouterr().err


def test_it_ends_after_so_many_inputs_and_says_what_became_of_them(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("atheris")
    assert guided.main(["--inputs", "500", "--seed", "1"]) == 0
    assert "500 inputs, 0 failed" in capfd.readouterr().out
