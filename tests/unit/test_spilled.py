"""Sorting in runs is sorting, however few rows fit into memory at once."""

from hypothesis import given
from hypothesis import strategies as st

from infra.spilled import descending


@given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=3)), max_size=60), st.integers(1, 20))
def test_rows_come_in_descending_order_and_equals_as_they_came(rows: list[tuple[int, str]], at_once: int) -> None:
    shown = list(descending(iter(rows), lambda row: row[0], at_once))
    assert shown == sorted(rows, key=lambda row: row[0], reverse=True)


def test_whoever_has_seen_enough_can_leave_the_rest() -> None:
    found = descending(iter(range(100)), lambda row: row, at_once=10)
    assert [next(found), next(found)] == [99, 98]
    found.close()  # type: ignore[attr-defined]
    assert next(found, None) is None
