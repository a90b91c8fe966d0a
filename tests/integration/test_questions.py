"""What is asked of the read models most: the tables are not read through, and the database counts as the rules do."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from random import Random
from typing import Any

import psycopg
import pytest

from benchmarks import customers
from infra.cli.customer import READ, timeline
from infra.cli.queues import open_cases, summaries
from infra.cli.reading import Answer
from infra.cli.retention_risk import risk_of, riskiest
from infra.cli.satisfaction import sums
from infra.cli.servers import Connection, connected
from infra.embedded.postgres import EmbeddedPostgres
from projections.retention_risk import RETENTION_RISK
from projections.satisfaction import SATISFACTION
from projections.service_queues import SERVICE_QUEUES, standings, summarise_queues
from tests.support.builders import NOON

CUSTOMERS = 30_000
LARGE = {"customer_timeline", "retention_risk", "queue_items", "satisfaction_daily"}


class Explained(Answer):
    """Answers, and keeps which tables were read through for them."""

    def __init__(self, conn: Connection, *projections: Any) -> None:
        self.read_through: set[str] = set()
        super().__init__(conn, *projections)

    def rows(self, statement: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        self._explain(statement, values)
        return super().rows(statement, values)

    def stream(self, statement: str, values: Mapping[str, object] | None = None) -> Iterator[dict[str, Any]]:
        self._explain(statement, values)
        return super().stream(statement, values)

    def _explain(self, statement: str, values: Mapping[str, object] | None) -> None:
        row = self._conn.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode(), values).fetchone()
        assert row is not None
        self.read_through |= set(_read_through(row["QUERY PLAN"][0]["Plan"])) & LARGE


def _read_through(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for below in plan.get("Plans", ()):
        yield from _read_through(below)


@pytest.fixture(scope="module")
def bank(postgres_server: EmbeddedPostgres) -> Iterator[Connection]:
    """The read models of many customers."""
    url = postgres_server.create_database("questions")
    customers.fill(url, CUSTOMERS)
    with closing(connected(url)) as conn:
        yield conn


def test_no_question_reads_a_large_table_through(bank: Connection) -> None:
    now = datetime.now(NOON.tzinfo)
    one, queue = customers.name(77), "queue 1"
    answer = Explained(bank, *READ, SATISFACTION)
    assert risk_of(answer, one, now)
    assert len(list(timeline(answer, one, 5))) == 5
    assert len(list(timeline(answer, one, 5, now - timedelta(days=400), "transaction"))) == 5
    list(open_cases(answer, now, customer_id=one))
    assert len(list(open_cases(answer, now, 50, queue=queue))) == 50
    assert summaries(answer, now, queue, "case")[0].open > 50
    assert sums(answer, "channel", {}, (now.date() - timedelta(days=6), now.date()))
    filters: list[dict[str, Any]] = [
        {},
        {"filters": {"branch": "Branch 7"}},
        {"filters": {"manager_id": "m-7"}},
        {"filters": {"segment": "mass"}},
        *({"band": band} for band in ("high", "medium", "low", "closed")),
    ]
    for chosen in filters:
        assert len(list(riskiest(answer, now, 20, **chosen))) == 20, chosen
    assert answer.read_through == set()


def test_all_customers_come_in_one_order_however_many_are_wanted(bank: Connection) -> None:
    now = datetime.now(NOON.tzinfo)
    answer = Answer(bank, RETENTION_RISK)
    whole = [row["customer_id"] for row in riskiest(answer, now)]
    assert len(set(whole)) == len(whole) == CUSTOMERS
    assert [row["customer_id"] for row in riskiest(answer, now, 500)] == whole[:500]
    assert answer.rows("SELECT FROM pg_cursors") == []


def test_the_database_counts_a_queue_as_the_rules_do(bank: Connection) -> None:
    """Two ways to one summary and one order: the rules in Python, and SQL where the items are."""
    rng = Random(5)
    at = NOON.replace(microsecond=0)

    def some(lowest: int, highest: int) -> datetime | None:
        return None if rng.random() < 0.3 else at + timedelta(seconds=rng.randint(lowest, highest) * 1000)

    with psycopg.connect(bank.info.dsn) as conn:
        conn.execute("DELETE FROM kehu.queue_items")
        conn.execute("DELETE FROM kehu.queue_flow WHERE day < %s", (at,))
        for number in range(400):
            conn.execute(
                "INSERT INTO kehu.queue_items (item_id, kind, queue, status, open, customer_id, opened_at,"
                " statutory_from, statutory_due, service_from, service_due, position)"
                " VALUES (%s, %s, %s, %s, %s, 'c', %s, %s, %s, %s, %s, 1)",
                (
                    f"complaint-{number}",
                    rng.choice(["case", "case", "contact"]),
                    rng.choice(["a", "b", "c"]),
                    rng.choice(["waiting", "assigned"]),
                    rng.random() < 0.8,
                    at - timedelta(seconds=rng.randint(-5, 40) * 1000, microseconds=rng.randint(0, 999_999)),
                    at - timedelta(seconds=rng.randint(1, 6) * 1000),
                    some(-4, 8),
                    at - timedelta(seconds=rng.randint(1, 6) * 1000),
                    some(-4, 8),
                ),
            )
    bank.rollback()
    answer = Answer(bank, SERVICE_QUEUES)
    items = answer.rows("SELECT * FROM kehu.queue_items")
    flow = answer.rows("SELECT * FROM kehu.queue_flow")
    assert list(summaries(answer, at)) == list(summarise_queues(items, flow, at))

    def urgency(item: dict[str, Any]) -> tuple[int, datetime, str]:
        (alone,) = standings([item], at)
        late = alone.overdue_statutory or alone.overdue_service
        dues = [item[name] for name in ("statutory_due", "service_due") if item[name] is not None]
        latest = datetime.max.replace(tzinfo=at.tzinfo)
        return 0 if late else 1 if alone.at_risk else 2, min(dues, default=latest), item["item_id"]

    cases = sorted((one for one in items if one["open"] and one["kind"] == "case"), key=urgency)
    assert {urgency(one)[0] for one in cases} == {0, 1, 2}
    wanted = [one["item_id"].removeprefix("complaint-") for one in cases]
    assert [row["case"] for row in open_cases(answer, at)] == wanted
    overdue = [row["case"] for row in open_cases(answer, at, overdue=True)]
    assert overdue == wanted[: len(overdue)]
    assert len(overdue) == sum(urgency(one)[0] == 0 for one in cases)
    assert [row["case"] for row in open_cases(answer, at, 7)] == wanted[:7]
