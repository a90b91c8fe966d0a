"""What a subscriber keeps of messages that come again: each has its effect once, and an older one has none."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from examples.subscriber import SCHEMA, apply


@dataclass
class Message:
    """A message of a view."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


def sent(key: str, sequence: int, row: str | None) -> Message:
    return Message(key.encode(), None if row is None else row.encode(), [("ce_sequence", b"%04d" % sequence)])


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from(["x", "y"])), max_size=30)


@given(ROWS, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4))
def test_whatever_is_sent_again_has_its_effect_once(
    rows: list[tuple[str, str | None]], again: list[tuple[int, int]]
) -> None:
    """A publisher that starts again sends from some message on; the state of a moment later may come first."""
    messages = [sent(key, number, row) for number, (key, row) in enumerate(rows)]
    delivered = list(messages)
    for at, length in again:
        end = min(at, len(delivered))
        delivered[end:end] = delivered[max(0, end - length) : end]
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        news = apply(db, delivered)
        kept = dict(db.execute("SELECT key, row FROM rows").fetchall())
        ((effects,),) = db.execute("SELECT changes FROM effects").fetchall()
        assert apply(db, messages) == 0
    assert kept == dict(rows)
    assert news == effects == len(messages)


def test_what_comes_late_changes_nothing() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        assert apply(db, [sent("a", 2, None), sent("a", 1, "x")]) == 1
        assert db.execute("SELECT key, row FROM rows").fetchall() == [("a", None)]
