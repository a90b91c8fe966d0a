"""`kehu show reconciliation`: every message that was published has exactly one outcome."""

from collections import Counter
from typing import Annotated, Any

import psycopg
import typer

from infra.cli.output import Csv, Json, Ndjson, print_rows, say
from infra.cli.servers import Held, OptionalKafka, Postgres, connected, held
from infra.errors import KehuError
from infra.kafka.topics import TOPICS
from infra.postgres.reconciliation import by_topic, positions

Topic = Annotated[str | None, typer.Option(help="Only this topic.")]


NUMBERS = ("published", "read", "appended", "duplicate", "parked", "dead", "difference")


class NotReconciled(KehuError):
    """Not every published message is accounted for. See the verdict of each topic, and run `kehu doctor`."""


def reconciliation(
    postgres: Postgres = "",
    kafka: OptionalKafka = "",
    topic: Topic = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Prove for each topic: published = appended + duplicate + parked + dead.

    With --kafka the broker is asked how many messages it was given, independently of what the store counted: nothing
    may be unread, and the numbers must be equal. Without it only the store's own counts are compared. The broker tells
    offsets; where it compacts a topic or a producer uses transactions these are more than the messages, and the verdict
    says so. Ends with exit code 1 unless everything is accounted for.

    Example: kehu show reconciliation --kafka broker:9092
    """
    if topic not in (None, *TOPICS.values()):
        raise typer.BadParameter(f"use {', '.join(TOPICS.values())}", param_hint=f"--topic {topic}")
    # The store first: what is published meanwhile is then unread, and not lost.
    with connected(postgres) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        rows, reached = by_topic(conn), positions(conn)
    published = held(kafka) if kafka else None
    for name in TOPICS.values():
        if published and name in published and not any(row["topic_id"] == published[name][0] for row in rows):
            rows.append(_never_read(name, published[name][0]))
    checked = [_checked(row, reached, published) for row in rows if topic in (None, row["topic"])]
    if as_json or as_csv or as_ndjson:
        print_rows("Reconciliation", checked, as_json, as_csv, as_ndjson)
    else:
        print_rows("Reconciliation", [*checked, _sum(checked)], people=_for_people, wide=("verdict",))
        print_rows("Why messages died or wait", _reasons(checked))
        if not kafka:
            say("Published was not asked from the broker: give --kafka. These are the store's own counts.", "yellow")
    if not all(row["balanced"] for row in checked):
        raise NotReconciled()


def _reasons(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per reason, with a column per topic."""
    counts = Counter(
        {
            (outcome, rule, row["topic"]): n
            for row in rows
            for outcome in ("dead", "parked")
            for rule, n in row[f"{outcome}_by_rule"].items()
        }
    )
    topics = sorted({row["topic"] for row in rows})
    return [
        {
            "outcome": outcome,
            "reason": rule,
            **{name.removeprefix("kehu."): counts[outcome, rule, name] or None for name in topics},
            "all": sum(counts[outcome, rule, name] for name in topics),
        }
        for outcome, rule in sorted({(outcome, rule) for outcome, rule, _ in counts})
    ]


def _never_read(topic: str, topic_id: str) -> dict[str, Any]:
    zero = dict.fromkeys(("read", "outcomes", "appended", "duplicate", "parked", "dead", "parked_rows", "dead_rows"), 0)
    reasons: dict[str, Any] = {"parked_by_rule": {}, "dead_by_rule": {}}
    return {"topic": topic, "topic_id": topic_id, **zero, **reasons, "balanced": True}


def _checked(
    row: dict[str, Any],
    reached: list[dict[str, Any]],
    published: Held | None,
) -> dict[str, Any]:
    """The row with what the broker says, and the verdict. `balanced` is whether all that was asked is equal."""
    current = published is not None and published.get(row["topic"], ("",))[0] == row["topic_id"]
    given = unread = difference = None
    if published is not None and current:
        ends = published[row["topic"]][1]
        read = {p["partition"]: p["next_offset"] for p in reached if p["topic_id"] == row["topic_id"]}
        given = sum(ends.values())
        unread = sum(max(0, end - read.get(number, 0)) for number, end in ends.items())
        difference = given - row["outcomes"]
    verdict = _verdict(row, unread, difference)
    if published is not None and not current:
        verdict = f"{verdict}; this topic was deleted or made anew since"
    good = row["balanced"] and row["outcomes"] == row["read"] and not unread and not difference
    first = {"topic": row["topic"], "topic_id": row["topic_id"], "published": given, "read": row["read"]}
    outcomes = {name: row[name] for name in ("appended", "duplicate", "parked", "dead")}
    counted = {name: row[name] for name in ("parked_rows", "dead_rows", "parked_by_rule", "dead_by_rule")}
    ours = {"unread": unread, "difference": difference, "balanced": good, "verdict": verdict}
    return {**first, **outcomes, **counted, **ours}


def _verdict(row: dict[str, Any], unread: int | None, difference: int | None) -> str:
    if not row["balanced"]:
        return (
            f"counted {row['parked']} parked and {row['dead']} dead, kept {row['parked_rows']} and {row['dead_rows']}"
        )
    if unread:
        return f"{unread} not read yet"
    if difference and difference < 0:
        return f"{-difference} more read than the broker gave out: it lost messages, see `kehu doctor`"
    if missing := difference or row["read"] - row["outcomes"]:
        # Which of these it is the offsets cannot tell, so it is not called a loss.
        return (
            f"{missing} offsets without an outcome: messages "
            "deleted before they were read, compaction, or marks of transactions"
        )
    return "consistent" if unread is None else "complete"


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = {name: [row[name] for row in rows if row[name] is not None] for name in NUMBERS}
    wrong, same = sum(not row["balanced"] for row in rows), {row["verdict"] for row in rows}
    verdict = f"{wrong} not accounted for" if wrong else same.pop() if len(same) == 1 else None
    return {"topic": "all", **{name: sum(n) if n else None for name, n in numbers.items()}, "verdict": verdict}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    shown = {name: None if row[name] is None else f"{row[name]:,}" for name in NUMBERS}
    return {"topic": row["topic"].removeprefix("kehu."), **shown, "verdict": row["verdict"]}
