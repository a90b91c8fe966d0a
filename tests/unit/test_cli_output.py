"""How values are written for people."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import pytest
import typer
from rich.cells import cell_len

from infra.cli.output import cell, percent, print_rows, span, when
from infra.cli.times import moment
from infra.plain import text_of
from infra.postgres.questions.answer import Freshness
from infra.remedies import meaning
from tests.support.builders import NOON
from tests.support.cli import kehu

DAY = 86_400


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (45.9, "45 s"),
        (90, "1 min"),
        (3 * 60, "3 min"),
        (3600, "1 h"),
        (3600 + 20 * 60, "1 h 20 min"),
        (7 * 3600 + 33 * 60, "7 h"),
        (DAY + 3600, "1 d 1 h"),
        (2 * DAY + 59, "2 d"),
        (116 * DAY + 3 * 3600, "116 d"),
        (-DAY, "1 d"),
        (None, None),
    ],
)
def test_a_length_of_time_is_told_in_what_people_act_on(seconds: float | None, told: str | None) -> None:
    assert span(seconds) == told


def test_a_deadline_is_told_from_now() -> None:
    assert when(NOON + timedelta(hours=7), NOON) == "in 7 h"
    assert when(NOON - timedelta(days=3), NOON) == "3 d ago"
    assert when(None, NOON) is None


def test_a_share_is_told_in_percent() -> None:
    assert (percent(0.425), percent(0.909, 1), percent(None)) == ("42 %", "90.9 %", None)


def test_bytes_are_text_or_hexadecimal() -> None:
    assert (text_of("客".encode()), text_of(b"\xff\x00"), text_of(b""), text_of(None)) == ("客", "0xff00", "", None)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (True, "yes"),
        (datetime(2026, 3, 2, 12, 0, 59, tzinfo=UTC), "2026-03-02 12:00"),
        (["a", None], "a, –"),
        ({"dead": 2}, "dead 2"),
        ("", ""),
    ],
)
def test_a_cell_reads_like_prose(value: Any, told: str) -> None:
    assert cell(value) == told


def test_markup_in_a_value_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = io.StringIO()
    with redirect_stdout(out):
        print_rows("Title", [{"what": "[red]x[/red] [/"}])
    assert "[red]x[/red] [/" in out.getvalue()


def test_a_long_text_wraps_and_the_others_keep_their_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    with redirect_stdout(out):
        print_rows("Title", [{"id": 7, "detail": "word " * 20}], wide=("detail",))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert sum(line.count("word") for line in lines) == 20


MANY = [
    {
        "case": f"first-{number}",
        "customer id": "0197f0a2-5a4e-7c1d-9b64-3f5d2f6a1c0e",
        "merged into": None,
        "begun": datetime(2026, 3, 2, 12, tzinfo=UTC),
        "queue": "complaints-Pudong",
        "products": ["current account", "客户 savings"],
        "n": 1_000 * number,
    }
    for number in (1, 2)
]


@pytest.mark.parametrize("width", [60, 72, 80, 100, 112, 130, 200])
def test_nothing_is_cut_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(MANY, width, monkeypatch)
    assert max(map(cell_len, lines)) <= width
    words = [word.strip(",") for line in lines for word in line.split()]
    for row in MANY:
        for name, value in row.items():
            if value is not None:
                assert {word.strip(",") for word in f"{name} {cell(value)}".split()} <= set(words)
    assert sum(words.count(name) for name in ("first-1", "first-2")) == 2


def test_what_fits_is_a_table_and_what_does_not_is_a_block_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def headed(width: int) -> bool:
        return any("customer id" in line and "queue" in line for line in shown(MANY, width, monkeypatch))

    assert [headed(width) for width in (60, 80, 100, 130)] == [False, False, True, True]


def test_a_column_of_nothing_gives_way_before_the_table_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": "a" * 30, "manager": None, "branch": "b" * 20}]
    assert any("manager" in line for line in shown(rows, 61, monkeypatch))
    narrow = shown(rows, 54, monkeypatch)
    assert any(line.split() == ["id", "branch"] for line in narrow)
    assert any(line.split() == ["a" * 30, "b" * 20] for line in narrow)


def test_a_word_longer_than_the_terminal_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://crm.example/" + "path/" * 30
    lines = shown([{"name": "crm", "url": url}], 50, monkeypatch, wide=("url",))
    assert max(map(len, lines)) <= 50
    assert url in "".join(line.removeprefix("crm").strip() for line in lines)


def shown(rows: list[dict[str, Any]], width: int, monkeypatch: pytest.MonkeyPatch, **how: Any) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    with redirect_stdout(out):
        print_rows("Title", rows, **how)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("form", [(True,), (False, True), (False, False, True)], ids=["json", "csv", "ndjson"])
def test_an_export_writes_each_row_before_it_takes_the_next(form: tuple[bool, ...]) -> None:
    out = io.StringIO()

    def rows() -> Iterator[dict[str, int]]:
        for number in range(3):
            assert number == 0 or f"{number + 69}" in out.getvalue()
            yield {"n": number + 70}

    with redirect_stdout(out):
        print_rows("Title", rows(), *form)
    assert "72" in out.getvalue()


@pytest.mark.parametrize(
    "typed", ["2026-03-02T12:00", "2026-03-02 12:00:00", "2026-03-02T13:00+01:00", "2026-03-02T12:00:00Z"]
)
def test_a_time_is_typed_the_same_way_everywhere(typed: str) -> None:
    assert moment(typed) == NOON


def test_what_is_no_time_is_refused_with_how_to_write_one() -> None:
    with pytest.raises(typer.BadParameter, match="2026-03-01T12:00"):
        moment("tomorrow")


def test_the_release_is_told() -> None:
    told = kehu("--version")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"kehu {version('kehu')} (Python 3.")


def test_csv_without_rows_has_the_header_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows("Rows", [], as_csv=True, columns=("a", "b"))
    print_rows("Rows", [{"a": 1, "b": {"c": 2}}], as_csv=True, columns=("a", "b"))
    assert capsys.readouterr().out == 'a,b\na,b\n1,"{""c"":2}"\n'


def test_an_answer_is_fresh_to_a_position_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    fresh = [Freshness("satisfaction", 1200, NOON, 3, 90.0)]
    told = "satisfaction shows position 1,200 of 2026-03-02 12:00:00 UTC, 3 behind for 1 min"
    row = {"n": 1}

    def printed(*how: bool) -> tuple[str, str]:
        print_rows("Title", [row], *how, fresh=fresh, about={"more": [7]})
        shown = capsys.readouterr()
        return shown.out, shown.err

    assert told in printed()[0]
    assert printed(False, True) == ("n\n1\n", f"{told}\n")
    assert printed(False, False, True) == ('{"n":1}\n', f"{told}\n")
    assert json.loads(printed(True)[0]) == {
        "freshness": {
            "satisfaction": {"position": 1200, "recorded_at": NOON.isoformat(), "behind": 3, "lag_seconds": 90.0}
        },
        "more": [7],
        "rows": [row],
    }


@pytest.mark.parametrize(("limit", "said"), [(2, True), (3, False), (0, False)])
def test_rows_that_may_have_been_cut_are_told(limit: int, said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for how in ((), (True,), (False, True), (False, False, True)):
        print_rows("Title", [{"n": 1}, {"n": 2}], *how, limit=limit)
        shown = capsys.readouterr()
        assert ("--limit 0 gives all" in (shown.err if how else shown.out)) == said


def test_a_rule_is_explained_by_its_error_or_as_a_wrong_message() -> None:
    assert "did not come in time" in meaning("expired")
    assert "correct it at its source" in meaning("bad-json")


def test_what_rows_are_about_stands_beside_them_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows("Rows", [{"a": 1}], as_json=True, about={"digest": "00"})
    assert json.loads(capsys.readouterr().out) == {"digest": "00", "rows": [{"a": 1}]}
