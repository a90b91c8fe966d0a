"""From which table a question is answered: cells, or totals where these say as much."""

# ruff: noqa: S608 (what is put together are names of our own tables and columns)

from collections.abc import Collection

from projections.totals import Counted


def source_of(counted: Counted, named: Collection[str]) -> str:
    """What stands after FROM for a statement that names these columns: rows that have them, and all counters.

    `named` are columns of a cell, already checked: they become part of the statement.
    """
    dimension = counted.answering(named)
    if dimension is None:
        return counted.cells.name
    value = f", value AS {dimension}" if dimension else ""
    return f"(SELECT *{value} FROM {counted.totals.name} WHERE dimension = '{dimension}') totals"
