"""What is asked of the read models most: the tables are not read through, and the database counts as the rules do."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations, product
from random import Random
from typing import Any

import psycopg
import pytest

from benchmarks import customers
from infra.cli.servers import Connection, connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres.questions.answer import Answer, OtherVersion
from infra.postgres.questions.customers import ABOUT_ONE, risk_of, riskiest, timeline
from infra.postgres.questions.outcomes import complaint_rates
from infra.postgres.questions.queues import open_cases, summaries
from infra.postgres.questions.satisfaction import Window, scores
from projections.outcomes import OUTCOMES
from projections.outcomes.summaries import Window as OutcomeWindow
from projections.retention_risk import RETENTION_RISK
from projections.satisfaction import DIMENSIONS, SATISFACTION, summarise
from projections.service_queues import CELLS, ITEMS, SERVICE_QUEUES, next_deadline, standings, summarise_queues
from projections.service_queues import DIMENSIONS as QUEUE_DIMENSIONS
from tests.support.builders import NOON

CUSTOMERS = 30_000
LARGE = {
    *("customer_timeline", "retention_risk", "queue_items", "satisfaction_daily", "satisfaction_totals"),
    *("outcome_daily", "outcome_totals", "outcome_moves"),
}


class Explained(Answer):
    """Answers, and keeps how each large table was read for them, and how many of its rows."""

    def __init__(self, conn: Connection, *projections: Any) -> None:
        self.ways: set[tuple[str, str]] = set()
        self.read: Counter[str] = Counter()
        super().__init__(conn, *projections)

    def rows(self, statement: str, values: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        self._explain(statement, values)
        return super().rows(statement, values)

    def stream(self, statement: str, values: Mapping[str, object] | None = None) -> Iterator[dict[str, Any]]:
        self._explain(statement, values)
        return super().stream(statement, values)

    def _explain(self, statement: str, values: Mapping[str, object] | None) -> None:
        row = self._conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), values).fetchone()
        assert row is not None
        for scan in _scans(row["QUERY PLAN"][0]["Plan"]):
            table = scan["Relation Name"]
            if table in LARGE:
                self.ways.add((table, scan["Node Type"]))
                self.read[table] += scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)

    @property
    def read_through(self) -> set[str]:
        """The large tables that were read from their beginning to their end."""
        return {table for table, how in self.ways if how == "Seq Scan"}


def _scans(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "Relation Name" in plan:
        yield plan
    for below in plan.get("Plans", ()):
        yield from _scans(below)


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
    week = (now.date() - timedelta(days=6), now.date())
    answer = Explained(bank, *ABOUT_ONE, SATISFACTION)
    assert risk_of(answer, one, now)
    assert len(list(timeline(answer, [one], 5))) == 5
    assert len(list(timeline(answer, [one], 5, since=now - timedelta(days=400), kind="transaction"))) == 5
    list(open_cases(answer, now, where={"customer_id": one}))
    assert len(list(open_cases(answer, now, 50, {"queue": queue}))) == 50
    assert len(list(open_cases(answer, now, 50))) == 50
    assert summaries(answer, now, where={"queue": queue, "kind": "case"})[0].open > 50
    assert len(summaries(answer, now)) > customers.QUEUES
    for by in ((), *((dimension,) for dimension in DIMENSIONS), ("channel", "branch")):
        assert scores(answer, by, {}, week), by
    assert scores(answer, ("day",), {"branch": "Branch 7", "metric": "nps"}, week)
    assert scores(answer, ("channel",), {"branch": "Branch 7"}, week)
    assert scores(answer, ("channel",))
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


def test_a_complaint_rate_is_read_from_totals_and_late_moves_only(bank: Connection) -> None:
    quarter = OutcomeWindow.up_to(datetime.now(NOON.tzinfo).date() - timedelta(days=1), 90)
    answer = Explained(bank, OUTCOMES)
    assert sum(one.complaints for one in complaint_rates(answer, [quarter], "branch")) > 1000
    assert list(complaint_rates(answer, [quarter]))
    assert list(complaint_rates(answer, [quarter], "branch", {"branch": "Branch 7"}))
    assert answer.read_through == set()
    assert answer.read["outcome_daily"] == 0
    # Days and branches of a quarter, of a question by branch and one of a single branch; moves of one tenth of a year.
    assert answer.read["outcome_totals"] <= 2 * 90 * customers.BRANCHES + 90
    assert answer.read["outcome_moves"] < CUSTOMERS / 10


def test_the_table_of_queues_is_cleared_up_after_few_changes(bank: Connection) -> None:
    """Or its index would have to look nearly every row up in the table."""
    rows = bank.execute("SELECT reloptions FROM pg_class WHERE relname = 'queue_items' AND relkind = 'r'").fetchall()
    [options] = [dict(option.split("=") for option in row["reloptions"]) for row in rows]
    assert ITEMS.clear_after == 1000
    assert options == {
        "autovacuum_vacuum_threshold": "1000",
        "autovacuum_vacuum_scale_factor": "0",
        "autovacuum_vacuum_insert_threshold": "1000",
        "autovacuum_vacuum_insert_scale_factor": "0",
    }


def test_queues_are_counted_by_an_index_that_has_all_it_takes(bank: Connection) -> None:
    bank.rollback()
    with psycopg.connect(bank.info.dsn, autocommit=True) as conn:
        conn.execute("VACUUM")  # so that the index can be believed
    answer = Explained(bank, SERVICE_QUEUES)
    assert summaries(answer, datetime.now(NOON.tzinfo), where={"queue": "queue 1", "kind": "case"})
    assert answer.ways == {("queue_items", "Index Only Scan")}


def test_no_more_cases_are_read_than_are_wanted(bank: Connection) -> None:
    now = datetime.now(NOON.tzinfo)
    for number in (10, 100):
        answer = Explained(bank, SERVICE_QUEUES)
        assert len(list(open_cases(answer, now, number))) == number
        assert number <= answer.read["queue_items"] <= 2 * number


def test_all_customers_come_in_one_order_however_many_are_wanted(bank: Connection) -> None:
    now = datetime.now(NOON.tzinfo)
    answer = Answer(bank, RETENTION_RISK)
    whole = [row["customer_id"] for row in riskiest(answer, now)]
    assert len(set(whole)) == len(whole) == CUSTOMERS
    assert [row["customer_id"] for row in riskiest(answer, now, 500)] == whole[:500]
    assert answer.rows("SELECT FROM pg_cursors") == []


def test_totals_and_cells_give_the_same_scores(bank: Connection) -> None:
    """Whatever is grouped by and asked for, and whichever table was read: as the rules sum up the cells."""
    rng, today = Random(11), datetime.now(NOON.tzinfo).date()
    answer = Answer(bank, SATISFACTION)
    cells = answer.rows("SELECT * FROM kehu.satisfaction_daily")
    groupings = [*((name,) for name in DIMENSIONS), (), *rng.sample([*combinations(DIMENSIONS, 2)], 5)]
    conditions: list[dict[str, Any]] = [{}, {"metric": "nps"}, {"branch": "Branch 7"}, {"channel": "sms", "scale": 5}]
    windows: list[Window | None] = [None, (today - timedelta(days=40), today - timedelta(days=20))]
    for by, where in product(groupings, conditions):
        window = rng.choice(windows)
        chosen = [
            cell
            for cell in cells
            if all(cell[name] == value for name, value in where.items())
            and (window is None or window[0] <= cell["day"] <= window[1])
        ]
        found = scores(answer, by, where, window)
        assert found == summarise(chosen, by=by), (by, where, window)
        assert found
    assert scores(answer, ("branch",), {"branch": "Branch none"}) == ()


def test_a_read_model_of_another_version_is_not_asked(bank: Connection) -> None:
    with pytest.raises(OtherVersion, match="satisfaction is of version"):
        Answer(bank, RETENTION_RISK, replace(SATISFACTION, version=SATISFACTION.version + 1))
    assert Answer(bank, RETENTION_RISK, SATISFACTION).fresh


def test_the_database_counts_a_queue_as_the_rules_do(bank: Connection) -> None:
    """Two ways to one summary and one order: the rules in Python, and SQL where the items are."""
    rng = Random(5)
    at = NOON.replace(microsecond=0)

    def some(lowest: int, highest: int) -> datetime | None:
        return None if rng.random() < 0.3 else at + timedelta(seconds=rng.randint(lowest, highest) * 1000)

    with psycopg.connect(bank.info.dsn) as conn:
        conn.execute("DELETE FROM kehu.queue_items")
        conn.execute("DELETE FROM kehu.queue_flow WHERE day < %s", (at,))
        for number in range(300):
            cell = {
                **{name: rng.choice(["", "a"]) for name in (*QUEUE_DIMENSIONS, "kind")},
                "branch": rng.choice(["", "Leeds", "York"]),
                "priority": rng.choice(["1", "2"]),
                "day": at.date() - timedelta(days=number % 40),
                **{name: rng.randint(0, 9) for name in CELLS.columns},
                "position": 1,
            }
            named, given = ", ".join(cell), ", ".join(f"%({name})s" for name in cell)
            conn.execute(
                f"INSERT INTO kehu.queue_cells ({named}) VALUES ({given}) ON CONFLICT DO NOTHING".encode(), cell
            )
        for number in range(400):
            clocks: dict[str, datetime | None] = {}
            for clock in ("statutory", "service"):
                due = some(-4, 8)
                clocks[f"{clock}_due"] = due
                clocks[f"{clock}_at_risk_at"] = due and due - timedelta(seconds=rng.randint(1, 4) * 1000)
            item = {
                "item_id": f"complaint-{number}",
                "kind": rng.choice(["case", "case", "contact"]),
                "queue": rng.choice(["a", "b", "c"]),
                "status": rng.choice(["waiting", "assigned"]),
                "open": rng.random() < 0.8,
                "customer_id": f"c-{number % 50}",
                "branch": rng.choice([None, "Leeds", "York"]),
                "priority": rng.choice([1, 2]),
                "case_type": rng.choice(["complaint", "dispute"]),
                "opened_at": at - timedelta(seconds=rng.randint(-5, 40) * 1000, microseconds=rng.randint(0, 999_999)),
                "position": 1,
                **clocks,
                **next_deadline(clocks),
            }
            named, given = ", ".join(item), ", ".join(f"%({name})s" for name in item)
            conn.execute(f"INSERT INTO kehu.queue_items ({named}) VALUES ({given})".encode(), item)
    bank.rollback()
    answer = Answer(bank, SERVICE_QUEUES)
    items = answer.rows("SELECT * FROM kehu.queue_items")
    flow = answer.rows("SELECT * FROM kehu.queue_flow")
    assert list(summaries(answer, at)) == list(summarise_queues(items, flow, at))
    cells = answer.rows("SELECT * FROM kehu.queue_cells")
    for by in QUEUE_DIMENSIONS[1:]:
        assert list(summaries(answer, at, by)) == list(summarise_queues(items, cells, at, by)), by
        some_items = [one for one in items if one["branch"] == "York" and one["priority"] == 2]
        some_cells = [one for one in cells if one["branch"] == "York" and one["priority"] == "2"]
        found = summaries(answer, at, by, {"branch": "York", "priority": "2"})
        assert list(found) == list(summarise_queues(some_items, some_cells, at, by)), by

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
    overdue = [row["case"] for row in open_cases(answer, at, state="overdue")]
    assert overdue == wanted[: len(overdue)]
    assert len(overdue) == sum(urgency(one)[0] == 0 for one in cases)
    assert [row["case"] for row in open_cases(answer, at, 7)] == wanted[:7]
    filters: list[dict[str, Any]] = [{"queue": "b"}, {"customer_id": "c-7"}, {"queue": "b", "customer_id": "c-7"}]
    for chosen in filters:
        some_wanted = [
            one["item_id"].removeprefix("complaint-")
            for one in cases
            if all(one[name] == value for name, value in chosen.items())
        ]
        assert [row["case"] for row in open_cases(answer, at, where=chosen)] == some_wanted
        assert [row["case"] for row in open_cases(answer, at, 3, chosen)] == some_wanted[:3]
    states = [row["state"] for row in open_cases(answer, at)]
    known = [("overdue", "at risk", "in time")[urgency(one)[0]] for one in cases]
    without = [one["statutory_due"] is None and one["service_due"] is None for one in cases]
    assert any(without)
    assert states == ["no deadline" if none else state for none, state in zip(without, known, strict=True)]
