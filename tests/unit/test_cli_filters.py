"""Filters as they are typed: one way to write them, for every list."""

from datetime import UTC, date, datetime

import pytest
import typer

from infra.cli.filters import check_window, several, single, window_of

NAMES = ("queue", "branch", "priority", "day", "scale", "project_id")


def test_a_name_may_have_several_values_where_a_list_takes_them() -> None:
    two = several(["branch=Leeds", "queue=a=b", "branch=York"], NAMES)
    assert two == {"branch": ["Leeds", "York"], "queue": ["a=b"]}
    assert several(["project=p-1"], NAMES) == {"project_id": ["p-1"]}
    assert several(["branch="], NAMES) == {"branch": [""]}
    assert several(None, NAMES) == {}


def test_where_a_name_has_one_value_an_option_is_one_too() -> None:
    assert single(["branch=Leeds"], NAMES, queue="cards", priority=None) == {"branch": "Leeds", "queue": "cards"}
    for where, given in ((["branch=a", "branch=b"], {}), (["branch=a"], {"branch": "b"}), (["branch=a"] * 2, {})):
        with pytest.raises(typer.BadParameter, match="branch is given twice"):
            single(where, NAMES, **given)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("colour=red", "write NAME=VALUE with one of queue, branch"),
        ("branch", "write NAME=VALUE"),
        ("=Leeds", "write NAME=VALUE"),
        ("day=monday", "a day is written like"),
        ("scale=ten", "a scale is written like scale=5"),
        ("priority=5", "a priority is 1, 2, 3 or 4"),
    ],
)
def test_what_is_no_filter_is_told_with_what_to_write(typed: str, told: str) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        several([typed], NAMES)


def test_a_window_has_so_many_days_and_ends_on_the_day_named_or_today() -> None:
    today = date(2026, 3, 31)
    assert window_of(7, None, today) == (date(2026, 3, 25), today)
    assert window_of(30, datetime(2026, 3, 2, tzinfo=UTC), today) == (date(2026, 2, 1), date(2026, 3, 2))
    assert window_of(None, None, today) is None


def test_a_window_that_nobody_keeps_or_an_end_of_none_is_refused() -> None:
    check_window(90, datetime(2026, 3, 2, tzinfo=UTC))
    check_window(None, datetime(2026, 3, 2, tzinfo=UTC), ends_another=True)
    with pytest.raises(typer.BadParameter, match="use 7, 30 or 90"):
        check_window(8, None)
    with pytest.raises(typer.BadParameter, match="give --days"):
        check_window(None, datetime(2026, 3, 2, tzinfo=UTC))
