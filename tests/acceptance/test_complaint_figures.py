"""Complaints sent to real banks: counts, verdicts and deadlines in the read model, as pandas computes them."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import pandas as pd
import pytest

from consumers.projector import Projector
from domain.complaint import ComplaintOpened
from domain.returns import RETURNS, Counts, Period
from domain.returns import rows_of as returned
from domain.values import Recorded
from examples import cfpb_complaints
from infra.memory.log import MemoryLog
from infra.memory.read_models import MemoryReadModels
from projections.outcomes import CAUSES, DAILY, DEADLINES, OUTCOMES
from projections.outcomes.causes import periods_until, root_causes
from projections.outcomes.rules import CLUSTERS
from tests.acceptance.test_real_data_adapters import data_file
from tests.support.real_data import log_of

FILE = "complaints.csv"
VERDICTS = {
    "Closed with monetary relief": "upheld",
    "Closed with non-monetary relief": "partly_upheld",
    "Closed with explanation": "rejected",
    "Closed": "rejected",
}
Rows = dict[Any, Any]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The file without the rows that repeat another one, with the day from which the bank's clock ran."""
    table = pd.read_csv(data_file(FILE), dtype=str, keep_default_na=False).drop_duplicates()
    table["day"] = table[["date_received", "date_sent_to_company"]].max(axis=1)
    table["month"] = table["day"].str.slice(0, 7)
    table["answered"] = table["company_response_to_consumer"].isin(list(VERDICTS))
    table["verdict"] = table["company_response_to_consumer"].map(VERDICTS)
    return table


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return log_of(cfpb_complaints.convert, data_file(FILE))


@pytest.fixture(scope="module")
def models(log: MemoryLog) -> MemoryReadModels:
    models = MemoryReadModels()
    Projector(log, models, [OUTCOMES]).run_until_caught_up()
    return models


def rows_of(models: MemoryReadModels, table: Any) -> list[Rows]:
    stored: Any = models.rows[OUTCOMES.name, table.name]
    return [{**dict(zip(table.key, key, strict=True)), **row} for key, (_, row) in stored.items()]


def added(rows: list[Rows], by: Callable[[Rows], Any], column: str) -> Counter[Any]:
    """A counter, by something of the row; groups without any are left out."""
    total: Counter[Any] = Counter()
    for row in rows:
        total[by(row)] += row[column]
    return +total


def sizes(table: pd.DataFrame, *columns: str) -> dict[Any, int]:
    grouped = table.groupby(list(columns) if len(columns) > 1 else columns[0]).size()
    return {key: int(n) for key, n in grouped.items()}


@pytest.mark.parametrize(
    ("dimension", "column"), [("product", "product"), ("branch", "state"), ("channel", "submitted_via")]
)
def test_there_are_as_many_complaints_of_each_product_state_and_channel(
    table: pd.DataFrame, models: MemoryReadModels, dimension: str, column: str
) -> None:
    expected = sizes(table.assign(**{column: table[column].str.lower()}) if dimension == "channel" else table, column)
    assert added(rows_of(models, DAILY), lambda row: row[dimension], "complaints") == expected


def test_there_are_as_many_complaints_of_each_month_and_product(table: pd.DataFrame, models: MemoryReadModels) -> None:
    found = added(rows_of(models, DAILY), lambda row: (f"{row['day']:%Y-%m}", row["product"]), "complaints")
    assert found == sizes(table, "month", "product")


def test_there_are_as_many_complaints_of_each_issue(table: pd.DataFrame, log: MemoryLog) -> None:
    found = Counter(one.event.issue or "" for one in log.events if isinstance(one.event, ComplaintOpened))
    assert found == sizes(table, "issue")


def test_there_are_as_many_complaints_of_each_cluster(table: pd.DataFrame, models: MemoryReadModels) -> None:
    found = added(rows_of(models, CAUSES), lambda row: (row["product"], row["cause"], row["branch"]), "complaints")
    assert found == sizes(table, "product", "sub_issue", "state")


def test_verdicts_are_those_of_the_responses(table: pd.DataFrame, models: MemoryReadModels) -> None:
    expected = sizes(table[table["answered"]], "verdict")
    rows = rows_of(models, DAILY)
    assert {name: sum(row[name] for row in rows) for name in expected} == expected
    assert sum(row["decided"] for row in rows) == int(table["answered"].sum())


def test_decisions_are_in_time_as_the_file_says(table: pd.DataFrame, models: MemoryReadModels) -> None:
    timely = table[table["answered"]]["timely_response"] == "Yes"
    law = [row for row in rows_of(models, DEADLINES) if row["clock"] == "statutory"]
    assert {row["regime"] for row in law} == {"us_cfpb"}
    met, missed = (sum(row[name] for row in law) for name in ("met", "missed"))
    assert (met, missed) == (int(timely.sum()), int((~timely).sum()))
    assert met / (met + missed) == pytest.approx(float(timely.mean()))
    by_product = table[table["answered"] & (table["timely_response"] == "Yes")]
    assert added(law, lambda row: row["product"], "met") == sizes(by_product, "product")


def test_cases_that_came_back_are_those_that_the_consumer_disputed(
    table: pd.DataFrame, models: MemoryReadModels
) -> None:
    disputed = table[table["answered"] & (table["consumer_disputed"] == "Yes")]
    found = added(rows_of(models, DAILY), lambda row: row["product"], "came_back")
    assert found == sizes(disputed, "product")
    assert found == added(rows_of(models, DAILY), lambda row: row["product"], "reopened")


@pytest.mark.parametrize(("last", "number"), [("2013-07-31", 2), ("2013-09-25", 15), ("2015-03-31", 0)])
def test_clusters_are_judged_as_the_rule_says(
    table: pd.DataFrame, models: MemoryReadModels, last: str, number: int
) -> None:
    """The rule of 28 days and the twelve periods before, written down a second time with pandas."""
    day, end = pd.to_datetime(table["day"]), pd.Timestamp(last)
    ago = (end - day).dt.days
    clusters = table[["product", "sub_issue", "state"]]
    now = clusters[(ago >= 0) & (ago < 28)].value_counts()
    before = clusters[(ago >= 28) & (ago < 28 * 13)].value_counts()
    assert (end - day.min()).days >= 28 * 13, "the whole year is known"
    both = pd.DataFrame({"now": now, "before": before}).fillna(0)
    mean = both["before"] / 12
    expected = both[(both["now"] > mean + 3 * mean**0.5) & (both["now"] >= 5)].index

    until = date.fromisoformat(last)
    rows = rows_of(models, CAUSES)
    periods = periods_until(until, min(row["day"] for row in rows))
    assert periods.before is not None
    assert (periods.number, CLUSTERS.latest.period_days) == (12, 28)
    counts: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        for place, window in enumerate((periods.last, periods.before)):
            if window.first <= row["day"] <= window.last:
                count = counts.setdefault((row["product"], row["cause"], row["branch"]), [0, 0])
                count[place] += row["complaints"]
    found = root_causes([(*key, n, year) for key, (n, year) in counts.items()], periods)
    assert found.looked_at == len(both)
    alerts = {(one.product, one.cause, one.branch) for one in found.clusters if one.state in ("alert", "new")}
    assert alerts == {tuple(key) for key in expected}
    assert len(alerts) == number


def test_the_return_for_the_cfpb_says_what_the_file_says(table: pd.DataFrame, log: MemoryLog) -> None:
    period = Period(date(2011, 7, 21), date(2030, 1, 1))
    rule, streams = RETURNS["us_cfpb"].on(period.since), dict[str, list[Recorded]]()
    for event in log.events:
        streams.setdefault(event.originator_id, []).append(event)
    counts = Counts(rule)
    for stream in streams.values():
        for row in returned(stream, rule, period):
            counts.add(row)
    told = {(line.measure, line.value): line.cases for line in counts.lines()}
    answered, timely = table["answered"], table["timely_response"] == "Yes"
    disputed = int((answered & (table["consumer_disputed"] == "Yes")).sum())
    assert told["opened", ""] == len(table)
    assert (told["closed", ""], told["reopened", ""]) == (int(answered.sum()), disputed)
    assert told["outstanding_at_end", ""] == int((~answered).sum()) + disputed
    assert told["complaints", "untimely_response"] == told["outstanding_at_end", ""]  # none has an answer by 2030
    assert told["closed", "met"] == told["closed", "within_15_days"] == int((answered & timely).sum())
    assert told["closed", "missed"] == told["closed", "within_60_days"] == int((answered & ~timely).sum())
    for verdict, rows in sizes(table[answered], "verdict").items():
        assert told["closed", verdict] == rows
