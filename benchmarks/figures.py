"""What a benchmark finds: figures with what they stand against, as a table for people and as JSON for programs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar

import orjson
from rich.console import Console
from rich.table import Column, Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, what it is compared with (None: nothing), and in words what that is."""

    value: float
    unit: str
    against: float | None = None
    of: str = ""

    @property
    def ratio(self) -> float | None:
        """Value / against."""
        return self.value / self.against if self.against else None


Figures = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a group is run. `events` None means the group's own size; `broker` is embedded or apache."""

    folder: Path
    events: int | None = None
    seconds: float = 5.0
    rounds: int = 3
    broker: str = "embedded"
    customers: int | None = None


def middle(values: Sequence[float]) -> float:
    """The median: one disturbed round does not move it."""
    return median(values)


def percentile(values: Sequence[float], percent: int) -> float:
    """The given percentile, between neighbours in proportion."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def alternating(rounds: int, *ways: Callable[[], T]) -> list[list[T]]:
    """Run the ways one after the other, `rounds` times over, so that what disturbs the machine meets all of them."""
    found: list[list[T]] = [[] for _ in ways]
    for _ in range(rounds):
        for results, way in zip(found, ways, strict=True):
            results.append(way())
    return found


def show(figures: Figures, console: Console) -> None:
    """Print the figures as a table."""
    table = Table(*(Column(name, no_wrap=True) for name in ("figure", "value", "unit", "against", "ratio")), "of")
    for name, one in figures.items():
        table.add_row(name, _number(one.value), one.unit, _number(one.against), _number(one.ratio), one.of)
    console.print(table)


def as_json(figures: Figures) -> bytes:
    """`{"figure": {"value": …, "unit": …, "against": …, "ratio": …}}`."""
    told = {
        name: {"value": one.value, "unit": one.unit, "against": one.against, "ratio": one.ratio}
        for name, one in figures.items()
    }
    return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
