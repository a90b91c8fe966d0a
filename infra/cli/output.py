"""One way to print: rows as a table for people, as JSON for programs, as CSV for spreadsheets, as NDJSON for pipes.

All but the table write each row as it comes, so that an export of any length needs little memory.
"""

import csv
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.text import Text

from infra.cli.tables import ABSENT, laid_out
from infra.plain import csv_cell, json_of, text_of
from infra.postgres.questions.answer import Freshness

Row = Mapping[str, Any]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Csv = Annotated[bool, typer.Option("--csv", help="As CSV, for spreadsheets.")]
Ndjson = Annotated[bool, typer.Option("--ndjson", help="As JSON, one row a line, for pipes.")]
Limit = Annotated[int, typer.Option(min=0, help="Rows at most; 0 for all.")]

FRESH = ("position", "recorded_at", "behind", "lag_seconds")
WIDTH = 100
"""Columns where no terminal says how many it has."""


def console(*, stderr: bool = False) -> Console:
    """Where people read: the terminal's width, or 100 columns."""
    known = "COLUMNS" in os.environ or (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if known else WIDTH, highlight=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the log: what went wrong is the error of the command, and its output is its own."""
    known = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**known)


def say(text: str, style: str = "") -> None:
    """A line for people, wrapped between words."""
    console().print(text, markup=False, style=style)


def fresh_line(of: Freshness) -> str:
    """How fresh a read model is, in a line for people."""
    stored = f" of {of.recorded_at:%Y-%m-%d %H:%M:%S} UTC" if of.recorded_at else ""
    late = f", {of.behind:,} behind for {span(of.lag_seconds)}" if of.behind else ""
    return f"{of.projection} shows position {of.position:,}{stored}{late}"


def print_rows(
    title: str,
    rows: Iterable[Row],
    as_json: bool = False,
    as_csv: bool = False,
    as_ndjson: bool = False,
    *,
    people: Callable[[Any], Row] = lambda row: row,
    wide: Collection[str] = (),
    limit: int = 0,
    fresh: Sequence[Freshness] = (),
    about: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> None:
    """Print the rows. `people` makes the row that is read in the table; what is `wide` wraps first.

    `limit` is told when it may have cut the rows. With `fresh` the answer says how fresh it is: below the table, on
    standard error beside CSV and NDJSON; so are `notes`. With freshness or `about` JSON is an object of `freshness`,
    what `about` holds, and `rows`. `columns` are the names of the rows, of which CSV has a header also without rows.
    """
    if as_json + as_csv + as_ndjson > 1:
        raise typer.BadParameter("choose one", param_hint="--json, --csv and --ndjson")
    told = _Told(rows)
    if as_json:
        _print_document(told, fresh, about or {})
    elif as_csv:
        _print_csv(told, columns)
    elif as_ndjson:
        for row in told:
            print_json(row)
    else:
        _print_table(title, [people(row) for row in told], wide)
    cut = f"{limit} rows, as many as --limit lets through; --limit 0 gives all." if 0 < limit <= told.count else ""
    if as_json or as_csv or as_ndjson:
        told_beside = [*map(fresh_line, fresh), *notes] if not as_json else []
        sys.stderr.writelines(f"{note}\n" for note in [*told_beside, *[cut] * bool(cut)])
        return
    for note in [*[cut] * bool(cut), *map(fresh_line, fresh), *notes]:
        say(note, "dim")


class _Told:
    """Rows on their way out, counted."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def _print_document(rows: Iterable[Row], fresh: Sequence[Freshness], about: Mapping[str, Any]) -> None:
    write = sys.stdout.write
    known = {one.projection: {n: getattr(one, n) for n in FRESH} for one in fresh}
    told = {**({"freshness": known} if fresh else {}), **about}
    if told:
        write(f'{json_of(told).decode()[:-1]},"rows":')
    write("[")
    for number, row in enumerate(rows):
        write(("," if number else "") + json_of(row).decode())
    write("]}\n" if told else "]\n")


def print_json(value: object) -> None:
    """One JSON document on one line; times are RFC 3339, bytes are text or hexadecimal."""
    sys.stdout.write(json_of(value).decode() + "\n")


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


def _print_csv(rows: Iterable[Row], columns: Sequence[str]) -> None:
    def headed(names: Sequence[str]) -> "csv.DictWriter[str]":
        made = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        made.writeheader()
        return made

    writer = headed(columns) if columns else None
    for row in rows:
        writer = writer or headed(list(row))
        writer.writerow({name: csv_cell(value) for name, value in row.items()})


def _print_table(title: str, rows: Sequence[Row], wide: Collection[str]) -> None:
    out = console()
    out.print()
    if not rows:
        out.print(Text(f"{title}: nothing", style="bold"))
        return
    out.print(Text(title, style="bold"))
    out.print(laid_out(list(rows[0]), [[cell(value) for value in row.values()] for row in rows], wide, out.width))


def cell(value: Any) -> str:
    """A value as people read it in a table; what is absent is a dash."""
    match value:
        case None:
            return ABSENT
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
