"""The service desk's log gives the figures that pandas computes from the file itself, without any of our code.

Rules of reading, the same for both: the rows of a ticket are its versions, in the order of `sys_mod_count`, then of
time, then of the file. A state that is not known (-100) is the state before it, and at first open. A ticket is open
unless its newest version is Resolved or Closed. At a moment count the tickets opened until then, and their versions
updated until then. A ticket comes in when it is opened, and again when a state goes back from Resolved or Closed; it
goes out when a version is the first that is Resolved or Closed.
"""

from datetime import datetime

import pandas as pd
import pytest

from domain.values import Recorded
from examples import service_desk
from projections.service_queues import CELLS, FLOW, ITEMS, SERVICE_QUEUES, summarise_queues
from tests.acceptance.test_real_data_adapters import data_file
from tests.support.real_data import log_of
from tests.support.rows import MemoryRows, fold

NAME = "service_desk_events.csv.gz"
OVER = ("Resolved", "Closed")
SHARES = (0.5, 0.9, 1.0)
HOUR = 3600
MOMENTS = [
    datetime.fromisoformat(f"{day}T12:00:00+00:00")
    for day in (
        *("2016-03-03", "2016-03-10", "2016-03-24", "2016-04-07", "2016-04-21"),
        *("2016-05-05", "2016-05-12", "2016-05-19", "2016-05-26", "2016-07-01"),
    )
]


@pytest.fixture(scope="module")
def events() -> list[Recorded]:
    return log_of(service_desk.convert, data_file(NAME)).events


@pytest.fixture(scope="module")
def versions() -> pd.DataFrame:
    """Every version of every ticket in its order, with the state that counts."""
    rows = pd.read_csv(data_file(NAME), dtype=str)
    rows["version"] = rows["sys_mod_count"].astype(int)
    rows["at"] = pd.to_datetime(rows["sys_updated_at"], utc=True)
    rows["opened"] = pd.to_datetime(rows["opened_at"], utc=True)
    rows = rows.sort_values(["number", "version", "at"], kind="stable")
    known = rows["incident_state"].where(rows["incident_state"] != "-100")
    rows["state"] = known.groupby(rows["number"]).ffill().fillna("Active")
    rows["over"] = rows["state"].isin(OVER)
    # A ticket is opened once, by its first version.
    rows["opened"] = rows.groupby("number")["opened"].transform("first")
    before = rows.groupby("number")["over"].shift(fill_value=False)
    was = rows.groupby("number")["state"].shift()
    rows["back"] = before & ~((rows["state"] == "Closed") | (rows["state"] == was))
    rows["out"] = rows["over"] & (~before | rows["back"])
    return rows


def at(events: list[Recorded], moment: datetime) -> MemoryRows:
    return fold(SERVICE_QUEUES, (event for event in events if event.meta.occurred_at <= moment))


def open_at(versions: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """The tickets that are open at a moment; also those that were opened and not updated yet."""
    opened = versions[versions["opened"] <= moment].groupby("number").head(1)
    newest = versions[versions["at"] <= moment].groupby("number").tail(1)
    return opened[~opened["number"].isin(newest[newest["over"]]["number"])]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment:%Y-%m-%d}")
def test_the_backlog_and_its_ages_are_those_of_the_file(
    events: list[Recorded], versions: pd.DataFrame, moment: datetime
) -> None:
    items = [item for item in at(events, moment).whole(ITEMS) if item["open"]]
    expected = open_at(versions, moment)
    assert {item["item_id"].removeprefix("complaint-") for item in items} == set(expected["number"])
    ages = (moment - expected["opened"]).dt.total_seconds()
    one = [{**item, "queue": "all"} for item in items]
    [summary] = summarise_queues(one, [], moment)
    assert summary.open == len(expected) > 0
    percentiles = [nearest(ages, share) for share in SHARES]
    assert [summary.age_p50, summary.age_p90, summary.age_max] == percentiles
    worked = open_seconds(pd.Series([moment])).iloc[0] - open_seconds(expected["opened"])
    percentiles = [nearest(worked, share) for share in SHARES]
    assert [summary.business_p50, summary.business_p90, summary.business_max] == percentiles


def open_seconds(moments: "pd.Series[pd.Timestamp]") -> "pd.Series[int]":
    """Seconds of Monday to Friday, 09:00 to 17:00 UTC, from a Monday long ago: the hours of `default`, no holidays."""
    passed = pd.to_datetime(moments, utc=True) - pd.Timestamp("2001-01-01", tz="UTC")
    weekday, of_day = passed.dt.days % 7, passed.dt.seconds
    today = (of_day - 9 * HOUR).clip(0, 8 * HOUR).where(weekday < 5, 0)
    return (passed.dt.days // 7) * 40 * HOUR + weekday.clip(upper=5) * 8 * HOUR + today


def nearest(ages: "pd.Series[float] | pd.Series[int]", share: float) -> int:
    """Nearest rank: the smallest age that at least this share does not exceed."""
    ordered = ages.sort_values().reset_index(drop=True)
    rank = int(-(-share * len(ordered) // 1))
    return int(ordered.iloc[rank - 1])


def test_what_came_in_and_went_out_each_week_is_that_of_the_file(
    events: list[Recorded], versions: pd.DataFrame
) -> None:
    flow = pd.DataFrame(fold(SERVICE_QUEUES, events).whole(FLOW))
    weeks = pd.to_datetime(flow["day"]).dt.to_period("W")
    # Between queues cases only move.
    found = flow.assign(net=flow["inflow"] - flow["outflow"]).groupby(weeks)[["net", "reopened"]].sum()
    opened = versions.groupby("number")["opened"].first().dt.tz_localize(None).dt.to_period("W").value_counts()
    times = versions["at"].dt.tz_localize(None).dt.to_period("W")
    back, out = versions.groupby(times)["back"].sum(), versions.groupby(times)["out"].sum()
    net = opened.add(back, fill_value=0).sub(out, fill_value=0)
    every = sorted({*found.index, *net.index})
    assert len(every) > 20
    assert [int(found["net"].get(week, 0)) for week in every] == [int(net.get(week, 0)) for week in every]
    assert [int(found["reopened"].get(week, 0)) for week in every] == [int(back.get(week, 0)) for week in every]


def test_the_reopen_rate_is_that_of_the_file(events: list[Recorded], versions: pd.DataFrame) -> None:
    """Reopened over finished, of 28 days with their last, whatever queue the tickets were in."""
    cells = fold(SERVICE_QUEUES, events).whole(CELLS)
    rates = []
    for moment in MOMENTS:
        [summary] = summarise_queues([], cells, moment, by="case_type")
        last = pd.Timestamp(moment).normalize() + pd.Timedelta(days=1)
        month = versions[(versions["at"] >= last - pd.Timedelta(days=28)) & (versions["at"] < last)]
        assert summary.reopen_rate == month["back"].sum() / month["out"].sum()
        rates.append(summary.reopen_rate)
    assert len(set(rates)) == len(MOMENTS)
