"""Filters of lists as they are typed: `--where NAME=VALUE`, and the days that a question is about."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated

import typer

Where = Annotated[list[str] | None, typer.Option(help="Only where NAME=VALUE; repeatable.")]
WINDOWS = (7, 30, 90)
"""Days of the windows that satisfaction is asked for."""


def _is_day(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


SPELLED: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "day": (_is_day, "a day is written like day=2026-03-02"),
    "scale": (str.isdecimal, "a scale is written like scale=5"),
    "score": (str.isdecimal, "a score is written like score=5"),
    "priority": (("1", "2", "3", "4").__contains__, "a priority is 1, 2, 3 or 4"),
}
"""What the values of some names look like, and what to say of others."""


def several(where: Sequence[str] | None, names: Sequence[str]) -> dict[str, list[str]]:
    """Name -> the values of which it has one, in the order typed; `project` is `project_id`. Raises BadParameter."""
    found: dict[str, list[str]] = {}
    for one in where or ():
        said, equals, value = one.partition("=")
        name = column(said)
        if not equals or name not in names:
            raise typer.BadParameter(f"write NAME=VALUE with one of {', '.join(names)}", param_hint=f"--where {one}")
        fits, remedy = SPELLED.get(name, (None, ""))
        if fits is not None and not fits(value):
            raise typer.BadParameter(remedy, param_hint=f"--where {one}")
        found.setdefault(name, []).append(value)
    return found


def single(where: Sequence[str] | None, names: Sequence[str], **given: str | None) -> dict[str, str]:
    """Name -> its value, of --where and of the options that name one. Raises BadParameter for a name with two."""
    values = several(where, names)
    for name, value in given.items():
        if value is not None:
            values.setdefault(name, []).append(value)
    for name, some in values.items():
        if len(some) > 1:
            raise typer.BadParameter(f"{name} is given twice, and nothing has two values", param_hint="--where")
    return {name: value for name, (value,) in values.items()}


def column(said: str) -> str:
    """A dimension as the tables call it."""
    return "project_id" if said == "project" else said


def window_of(days: int | None, until: datetime | None, today: date) -> tuple[date, date] | None:
    """The first and the last day of the window that --days and --until name; None without --days."""
    if days is None:
        return None
    last = until.date() if until else today
    return last - timedelta(days=days - 1), last


def check_window(days: int | None, until: datetime | None, *, ends_another: bool = False) -> None:
    """Raises BadParameter: --days are those of a window, and --until ends one, unless it `ends_another`."""
    if days not in (None, *WINDOWS):
        raise typer.BadParameter("use 7, 30 or 90", param_hint=f"--days {days}")
    if until is not None and days is None and not ends_another:
        raise typer.BadParameter("it ends a window: give --days 7, 30 or 90 with it", param_hint="--until")
