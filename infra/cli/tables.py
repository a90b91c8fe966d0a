"""Rows for people in the width that there is: a table whose text wraps, or one record a block where none would fit.

Nothing is cut. A word stays whole, so that an identifier can be copied; only what is longer than 40 columns, such as an
address, is folded.
"""

import re
from collections.abc import Collection, Sequence
from itertools import product

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

ABSENT = "–"
MIN_WIDE = 12
"""Columns that a text keeps when the terminal is narrow."""
WHOLE = 40
"""Columns up to which a word is never broken."""
GAPS = (2, 1)
"""Columns between two columns of a table, and where they would not fit so."""
NUMBER = re.compile(r"[-+]?[\d,./]+( %)?")
STYLES = {
    **dict.fromkeys(("ok", "complete", "consistent", "low", "equal"), "green"),
    **dict.fromkeys(("warning", "medium", "parked", "skipped"), "yellow"),
    **dict.fromkeys(("wrong", "high", "dead", "differs"), "bold red"),
}
Cells = Sequence[Sequence[str]]


def laid_out(names: Sequence[str], rows: Cells, wide: Collection[str], width: int) -> RenderableType:
    """The rows as a table of at most `width` columns, or as blocks. `wide` names what wraps before anything else.

    A column in which nothing stands is left out where the others fit without it.
    """
    told = [index for index in range(len(names)) if any(row[index] != ABSENT for row in rows)]
    for gap, chosen in product(GAPS, (range(len(names)), told)):
        some, cells = [names[index] for index in chosen], [[row[index] for index in chosen] for row in rows]
        if (widths := _widths(some, cells, wide, width - gap * (len(some) - 1))) is not None:
            return _table(some, cells, widths, gap)
    return _blocks(names, rows)


def _widths(names: Sequence[str], rows: Cells, wide: Collection[str], room: int) -> Sequence[int] | None:
    """How wide each column is; None where the narrowest would not fit.

    First only what is `wide` wraps, and headings; then every text does. The widest column gives way first.
    """
    columns = [[row[index] for row in rows] for index in range(len(names))]
    whole = [max(_line(name), *map(_line, cells)) for name, cells in zip(names, columns, strict=True)]
    for wraps in (wide, names):
        least = [
            max(_word(name), *map(_least if name in wraps else _line, cells))
            for name, cells in zip(names, columns, strict=True)
        ]
        if sum(least) <= room:
            return _narrowed(whole, least, room)
    return None


def _narrowed(whole: Sequence[int], least: Sequence[int], room: int) -> Sequence[int]:
    widths = [max(least_of, min(most, room)) for most, least_of in zip(whole, least, strict=True)]
    while sum(widths) > room:
        index = max((i for i, n in enumerate(widths) if n > least[i]), key=widths.__getitem__)
        widths[index] -= 1
    return widths


def _line(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _word(text: str) -> int:
    return min(WHOLE, max(map(cell_len, text.split()), default=0))


def _least(text: str) -> int:
    return max(_word(text), min(MIN_WIDE, _line(text)))


def _table(names: Sequence[str], rows: Cells, widths: Sequence[int], gap: int) -> Table:
    # The divider of this box is a space, so the padding is one less than the gap.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for index, (name, width) in enumerate(zip(names, widths, strict=True)):
        column = [row[index] for row in rows if row[index] != ABSENT]
        numbers = bool(column) and all(NUMBER.fullmatch(cell) for cell in column)
        table.add_column(_named(name), justify="right" if numbers else "left", width=width, overflow="fold")
    for row in rows:
        table.add_row(*map(_styled, row))
    return table


def _blocks(names: Sequence[str], rows: Cells) -> Group:
    told: list[RenderableType] = []
    for row in rows:
        block = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        block.add_column(no_wrap=True, style="dim")
        block.add_column(overflow="fold")
        for name, cell in zip(names, row, strict=True):
            if cell != ABSENT:
                block.add_row(_in_a_line(name), _styled(cell))
        told += [Rule(style="dim"), block]
    return Group(*told)


def _named(name: str) -> str:
    return name.replace("_", " ")


def _in_a_line(name: str) -> str:
    """A heading that was written in lines: `over-` and `due` are one word, `open/` and `wait` are two without a gap."""
    return " ".join(_named(name).replace("-\n", "").replace("/\n", "/").split())


def _styled(cell: str) -> Text:
    return Text(cell, style=STYLES.get(cell, ""))
