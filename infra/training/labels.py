"""The labels that a model learns from: who left, and until when something was known."""

import csv
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from infra.errors import KehuError

COLUMNS = ("customer_id", "label", "as_of")
LEAST = 20
"""Customers of each kind without whom nothing can be learned and checked."""


class BadLabels(KehuError):
    """The labels cannot be used. Give a CSV file with the columns customer_id, label (1 left, 0 stayed) and as_of."""

    exit_code = 2


class Label(NamedTuple):
    """Whether a customer left after a moment, before which the features are taken."""

    customer_id: str
    left: int
    as_of: datetime


def read_labels(path: Path) -> list[Label]:
    """The labels of a file. Raises BadLabels with the line of what is wrong."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadLabels(f"{path}: {error}") from error
    reader = csv.DictReader(text.splitlines())
    if missing := set(COLUMNS) - set(reader.fieldnames or ()):
        raise BadLabels(f"{path}: no column {', '.join(sorted(missing))}")
    labels = [_label(row, f"{path}, line {line}") for line, row in enumerate(reader, start=2)]
    check(labels)
    return labels


def _label(row: dict[str, str], where: str) -> Label:
    if row["label"] not in ("0", "1"):
        raise BadLabels(f"{where}: label {row['label']!r} is neither 0 nor 1")
    if not row["customer_id"]:
        raise BadLabels(f"{where}: no customer_id")
    try:
        as_of = datetime.fromisoformat(row["as_of"] or "")
    except ValueError as error:
        raise BadLabels(f"{where}: as_of {row['as_of']!r} is no time like 2026-03-01T00:00:00Z") from error
    return Label(row["customer_id"], int(row["label"]), as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC))


def check(labels: Sequence[Label]) -> None:
    """Raises BadLabels when one is there twice, or when there are too few who left or stayed."""
    seen = Counter((one.customer_id, one.as_of) for one in labels)
    if twice := next((who for who, n in seen.items() if n > 1), None):
        raise BadLabels(f"{twice[0]} is there twice as of {twice[1].isoformat()}")
    left = sum(one.left for one in labels)
    for kind, n in (("left", left), ("stayed", len(labels) - left)):
        if n < LEAST:
            raise BadLabels(f"{n} customers who {kind}, {LEAST} are needed at least")
