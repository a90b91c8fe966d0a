"""Whatever is done to the log, its tree and its heads is found, and the first event that it was done to is named."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.audit import Finding, Grown, named, walk
from domain.heads import Head
from domain.merkle import Hash, leaf_hash
from tests.unit.test_merkle import MANY, by_the_book

SEALED = 700
AT = datetime(2026, 3, 2, tzinfo=UTC)
STORED = [(n + 1, MANY[n]) for n in range(SEALED + 30)]
SIZES = (1, 255, 256, 300, 512, SEALED)
Stored = list[tuple[int, Hash]]


def heads_of(leaves: Sequence[Hash]) -> list[Head]:
    return [Head(size, by_the_book(leaves[:size]), AT, "key") for size in SIZES]


AS_SEALED = heads_of(MANY)


def found(
    stored: Stored,
    kept: Sequence[Hash] = MANY[:SEALED],
    heads: Sequence[Head] | None = None,
    told: Sequence[int] = SIZES,
) -> list[Finding]:
    """What a walk finds when only the heads that were told outside, of these sizes, can be trusted."""
    roots = {head.size: head.root for head in AS_SEALED if head.size in told}
    return list(walk(stored, kept, AS_SEALED if heads is None else heads, roots))


@given(sizes=st.sets(st.integers(1, 1500), max_size=5))
def test_a_tree_that_grows_knows_its_root_at_every_size(sizes: set[int]) -> None:
    tree = Grown()
    for leaf in MANY[: max(sizes, default=0)]:
        tree.add(leaf)
        if tree.size in sizes:
            assert tree.root() == by_the_book(MANY[: tree.size])


def test_a_log_that_nobody_touched_has_nothing_to_tell() -> None:
    assert found(list(STORED)) == []
    assert list(walk([], [], [], {})) == []


@given(position=st.integers(1, SEALED))
def test_a_changed_event_is_named(position: int) -> None:
    stored = list(STORED)
    stored[position - 1] = (position, leaf_hash(b"changed"))
    assert found(stored) == [Finding("changed", position)]


@given(position=st.integers(1, SEALED - 1), number=st.integers(1, 20))
def test_removed_events_are_named(position: int, number: int) -> None:
    removed = Finding("missing", position, through=position + number - 1)
    assert found(STORED[: position - 1] + STORED[position + number - 1 :]) == [removed]


@given(position=st.integers(1, SEALED))
def test_an_event_that_was_put_in_between_is_named(position: int) -> None:
    added = [*STORED[: position - 1], (position, leaf_hash(b"added"))]
    stored = added + [(p + 1, leaf) for p, leaf in STORED[position - 1 :]]
    assert found(stored)[0] == Finding("changed", position)


@given(pair=st.lists(st.integers(1, SEALED), min_size=2, max_size=2, unique=True).map(sorted))
def test_events_that_changed_places_are_named(pair: list[int]) -> None:
    first, second = pair
    stored = list(STORED)
    stored[first - 1], stored[second - 1] = (first, MANY[second - 1]), (second, MANY[first - 1])
    assert found(stored) == [Finding("changed", first), Finding("changed", second)]


def test_two_events_at_one_position_are_named() -> None:
    for at in (8, 9):  # whichever of them is read first
        assert found([*STORED[:at], (9, leaf_hash(b"again")), *STORED[at:]]) == [Finding("twice", 9)]


@given(length=st.integers(0, SEALED - 1))
def test_a_log_that_was_cut_or_restored_from_an_old_backup_is_found(length: int) -> None:
    good = max((size for size in SIZES if size <= length), default=0)
    old = [head for head in AS_SEALED if head.size <= length]
    assert found(STORED[:length], MANY[:length], old) == [Finding("lost", length, good)]


@given(position=st.integers(1, SEALED))
def test_a_change_with_the_tree_and_the_heads_rewritten_is_found_between_two_heads(position: int) -> None:
    leaves = [*MANY[: position - 1], leaf_hash(b"changed"), *MANY[position : SEALED + 30]]
    stored = [(n + 1, leaf) for n, leaf in enumerate(leaves)]
    findings = found(stored, leaves[:SEALED], heads_of(leaves))
    first = min(size for size in SIZES if size >= position)
    before = max((size for size in SIZES if size < position), default=0)
    assert Finding("rewritten", first, before) in findings
    assert Finding("head", first) in findings


@given(position=st.integers(1, SEALED))
def test_one_head_that_was_told_outside_is_enough(position: int) -> None:
    leaves = [*MANY[: position - 1], leaf_hash(b"changed"), *MANY[position : SEALED + 30]]
    stored = [(n + 1, leaf) for n, leaf in enumerate(leaves)]
    findings = found(stored, leaves[:SEALED], heads_of(leaves), told=[SEALED])
    assert findings == [Finding("head", SEALED), Finding("rewritten", SEALED, 0)]


def test_a_log_that_went_on_in_another_way_after_an_old_backup_is_found() -> None:
    leaves = [*MANY[:500], *(leaf_hash(b"another %d" % n) for n in range(SEALED))]
    stored = [(n + 1, leaf) for n, leaf in enumerate(leaves)]
    heads = [Head(size, by_the_book(leaves[:size]), AT, "key") for size in (300, 900)]
    assert found(stored, leaves[:900], heads, told=[300, SEALED]) == [Finding("rewritten", SEALED, 300)]


def test_events_that_nobody_sealed_yet_are_counted() -> None:
    told = {SEALED: by_the_book(MANY[:SEALED])}
    assert list(walk(STORED, MANY[:SEALED], [], told, counted=len(STORED))) == []
    assert list(walk(STORED[:-1], MANY[:SEALED], [], told, counted=len(STORED))) == [
        Finding("lost", len(STORED) - 1, SEALED)
    ]


DATA = {position: position.to_bytes(8, "big") + b"event %d" % position for position in range(1, 21)}
KEPT = {position: leaf_hash(data) for position, data in DATA.items()}


def renumbered(order: Sequence[int]) -> dict[int, bytes]:
    """Positions 1, 2, … with the events that were sealed at these positions, and 0 for one that never was."""
    return {n: n.to_bytes(8, "big") + (DATA[was][8:] if was else b"new") for n, was in enumerate(order, 1)}


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ([1, 2, 0, *range(4, 21)], Finding("changed", 3)),
        ([1, 2, 9, 4, 5, 6, 7, 8, 3, *range(10, 21)], Finding("moved", 3, through=9)),
        ([1, 2, 0, *range(3, 21)], Finding("inserted", 3, through=3)),
        ([1, 2, 0, 0, *range(3, 21)], Finding("inserted", 3, through=4)),
        ([1, 2, *range(5, 21)], Finding("removed", 3, through=4)),
    ],
)
def test_what_was_done_is_known_by_where_sealed_events_stand_now(order: Sequence[int], what: Finding) -> None:
    stored = renumbered(order)
    first = next(n for n, data in stored.items() if KEPT.get(n) != leaf_hash(data))
    assert named(first, stored, KEPT) == what


def test_a_stored_head_that_was_changed_alone_is_told_apart_from_rewritten_events() -> None:
    heads = [AS_SEALED[0], Head(255, leaf_hash(b"changed"), AT, "key"), *AS_SEALED[2:]]
    assert found(list(STORED), heads=heads, told=[SEALED]) == [Finding("head", 255)]
    assert found(list(STORED), heads=heads, told=[]) == [Finding("rewritten", 255, 1)]


REWRITTEN: list[Callable[[list[Hash]], list[Hash]]] = [
    lambda kept: [],
    lambda kept: kept[:300],
    lambda kept: [leaf_hash(b"x"), *kept[1:]],
]


@pytest.mark.parametrize("rewrite", REWRITTEN)
def test_a_tree_that_was_touched_alone_is_found_or_does_no_harm(rewrite: Callable[[list[Hash]], list[Hash]]) -> None:
    """Leaves that are gone prove nothing, and the heads still hold; one that is another points to its event."""
    kept = rewrite(MANY[:SEALED])
    expected = [Finding("changed", 1)] if kept and kept[0] != MANY[0] else []
    assert found(list(STORED), kept) == expected


def test_what_was_found_is_told_in_words() -> None:
    assert Finding("changed", 7).text().startswith("changed at 7: the event at this position is not")
    assert Finding("moved", 7, through=9).text().startswith("moved at 7 and 9: ")
    assert Finding("lost", 7, 5).text().endswith("the last head that fits has 5")
