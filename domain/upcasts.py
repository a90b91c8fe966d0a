"""Older event versions become the newest when they are read: pure steps dict -> dict, one per (name, version).

A step takes the `data` of that version and returns that of the next. Stored events are never rewritten, and the rest
of the system knows only the newest version.
"""

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]

UPCASTS: dict[tuple[str, int], Callable[[Data], Data]] = {}


def upcast(name: str, version: int, newest: int, data: Data) -> Data:
    """`data` of `version` as data of `newest`; raises KeyError when a step is missing."""
    for step in range(version, newest):
        data = UPCASTS[name, step](data)
    return data
