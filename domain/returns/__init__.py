"""Regulatory returns: what a regulator wants counted of the complaints of a period, and the complaints behind it.

`rules` (which returns there are), `rows` (one complaint), `counts` (all of them).
"""

from domain.returns.counts import MEASURES, OUTCOMES, VERDICTS, Chosen, Counts, Line
from domain.returns.rows import NAMES, Row, rows_of
from domain.returns.rules import RETURNS, Period, Return

__all__ = [
    "MEASURES",
    "NAMES",
    "OUTCOMES",
    "RETURNS",
    "VERDICTS",
    "Chosen",
    "Counts",
    "Line",
    "Period",
    "Return",
    "Row",
    "rows_of",
]
