"""What the adapters share: reading a CSV file, writing CloudEvents as JSON lines, and an account of every row."""

import csv
import gzip
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

Row = dict[str, str]
CloudEvent = dict[str, Any]


@dataclass(slots=True)
class Report:
    """What became of the rows, for people to read on stderr."""

    rows: int = 0
    events: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows read, {self.events.total():,} events written"]
        lines += [f"  {n:>8,}  {name}" for name, n in sorted(self.events.items())]
        lines += [f"  {n:>8,}  {note}" for note, n in sorted(self.notes.items())]
        lines += [f"  unreadable: {one}" for one in self.unreadable[:20]]
        return "\n".join([*lines, f"{len(self.unreadable):,} rows could not be read"])


Convert = Callable[[Iterable[Row], Report], Iterator[CloudEvent]]


def rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV file, plain or gzip-compressed; a missing cell is an empty string."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, restval="")


def row_by_row(convert: Callable[[Row, Report], list[CloudEvent]]) -> Convert:
    """An adapter for a table whose rows do not depend on each other."""

    def convert_all(table: Iterable[Row], report: Report) -> Iterator[CloudEvent]:
        for number, row in enumerate(table, start=1):
            report.rows += 1
            try:
                yield from convert(row, report)
            except (KeyError, ValueError, ArithmeticError) as error:
                report.unreadable.append(f"row {number}: {error!r}")

    return convert_all


def cloud_event(source: str, event_id: str, name: str, customer: str, time: str, data: dict[str, Any]) -> CloudEvent:
    """A structured-mode CloudEvent; fields that are None are left out."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": f"kehu.{name}.v1",
        "subject": customer,
        "time": time,
        "datacontenttype": "application/json",
        "data": {field: value for field, value in data.items() if value is not None},
    }


def row_id(row: Row) -> str:
    """An id for a row that has none: the same content has the same id, so a repeated row is a duplicate."""
    return blake2b(orjson.dumps(row, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def main(convert: Convert, doc: str, arguments: list[str] | None = None) -> int:
    """Convert the file given as argument to JSON lines on stdout; 1 when a row could not be read."""
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the CSV file, plain or .gz")
    path: Path = parser.parse_args(arguments).file
    if not path.is_file():
        parser.error(f"{path} does not exist")
    report = Report()
    for event in convert(rows(path), report):
        report.events[event["type"]] += 1
        sys.stdout.write(orjson.dumps(event).decode() + "\n")
    sys.stdout.flush()
    print(report, file=sys.stderr)
    return 1 if report.unreadable else 0
