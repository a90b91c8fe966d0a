"""One way to print: rows as a table for people, as JSON for programs, as CSV for spreadsheets."""

import csv
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Csv = Annotated[bool, typer.Option("--csv", help="As CSV, for spreadsheets.")]
Limit = Annotated[int, typer.Option(min=1, help="Rows at most.")]

WIDTH = 100
"""Columns where no terminal says how many it has."""
MIN_WIDE = 12
"""Columns that a text keeps when the terminal is narrow."""
NUMBER = re.compile(r"[-+]?[\d,./]+( %)?")
STYLES = {
    **dict.fromkeys(("ok", "complete", "consistent", "low", "equal"), "green"),
    **dict.fromkeys(("warning", "medium", "parked", "skipped"), "yellow"),
    **dict.fromkeys(("wrong", "high", "dead", "differs"), "bold red"),
}


def console(*, stderr: bool = False) -> Console:
    """Where people read: the terminal's width, or 100 columns."""
    known = "COLUMNS" in os.environ or (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if known else WIDTH, highlight=False)


def say(text: str, style: str = "") -> None:
    """A line for people, wrapped between words."""
    console().print(text, markup=False, style=style)


def print_rows(
    title: str,
    rows: Sequence[Row],
    as_json: bool = False,
    as_csv: bool = False,
    *,
    people: Callable[[Any], Row] = lambda row: row,
    wide: Collection[str] = (),
) -> None:
    """Print the rows. `people` makes the row that is read in the table; only the columns in `wide` may wrap."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one", param_hint="--json and --csv")
    if as_json:
        print_json(rows)
    elif as_csv:
        _print_csv(rows)
    else:
        _print_table(title, [people(row) for row in rows], wide)


def print_json(value: object) -> None:
    """One JSON document on one line; times are RFC 3339, bytes are text or hexadecimal."""
    sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")


def text_of(value: bytes | None) -> str | None:
    """Bytes of a message for people: as text where they are UTF-8, else in hexadecimal."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "0x" + value.hex()


def span(seconds: float | None) -> str | None:
    """A length of time in its largest unit, or in two where one says too little: `13 d`, `2 d 3 h`, `45 min`."""
    if seconds is None:
        return None
    whole = int(abs(seconds))
    units = (("d", whole // 86_400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next((index for index, (_, n) in enumerate(units) if n), 3)
    shown = units[first : first + (2 if first < 2 and units[first][1] < 3 else 1)]
    return " ".join(f"{n} {unit}" for unit, n in shown if n) or "0 s"


def when(moment: datetime | None, now: datetime) -> str | None:
    """A deadline as people say it: `in 3 d 4 h`, `2 h ago`."""
    if moment is None:
        return None
    left = moment - now
    return f"in {span(left.total_seconds())}" if left >= timedelta() else f"{span(left.total_seconds())} ago"


def percent(share: float | None, digits: int = 0) -> str | None:
    """A share 0..1 as `42 %`."""
    return None if share is None else f"{100 * share:.{digits}f} %"


def _print_csv(rows: Iterable[Row]) -> None:
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _csv_cell(value) for name, value in row.items()})


def _csv_cell(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        return orjson.dumps(value, default=_plain).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return text_of(value) if isinstance(value, bytes) else value


def _print_table(title: str, rows: Sequence[Row], wide: Collection[str]) -> None:
    out = console()
    out.print()
    if not rows:
        out.print(Text(f"{title}: nothing", style="bold"))
        return
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    cells = [[cell(value) for value in row.values()] for row in rows]
    for index, name in enumerate(rows[0]):
        column = [row[index] for row in cells if row[index] != "–"]
        numbers = bool(column) and all(NUMBER.fullmatch(cell) for cell in column)
        table.add_column(
            name.replace("_", " "),
            justify="right" if numbers else "left",
            no_wrap=name not in wide,
            overflow="fold" if name in wide else "ellipsis",
            min_width=MIN_WIDE if name in wide else None,
        )
    for row in cells:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    out.print(table)


def cell(value: Any) -> str:
    """A value as people read it in a table; what is absent is a dash."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case bytes():
            return text_of(value) or ""
        case list() | tuple():
            return ", ".join(map(cell, value))
        case dict():
            return ", ".join(f"{name} {cell(one)}" for name, one in value.items())
    return str(value)


def _plain(value: object) -> str | None:
    return text_of(value) if isinstance(value, bytes) else str(value)
