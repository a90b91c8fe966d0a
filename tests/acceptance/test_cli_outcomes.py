"""What the command line says of complaint rates, effects, root causes and actions."""

import csv
import json
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.cli import History, kehu, store

DAY = timedelta(days=1)


def test_the_complaint_rate_of_each_branch_comes_with_its_interval(history: History) -> None:
    asked = ("show", "complaint-rate", "--by", "branch", "--days", "120")
    rows = history(*asked, "--json").rows
    assert sum(row["complaints"] for row in rows) > 0
    assert [row["complaints"] for row in rows] == sorted((row["complaints"] for row in rows), reverse=True)
    shown = [row for row in rows if row["per_1000_customers"] is not None]
    assert shown
    for row in shown:
        assert row["per_1000_customers"] == pytest.approx(1000 * row["complaints"] / row["customers"], rel=0.01)
        assert row["per_1000_customers_low"] <= row["per_1000_customers"] <= row["per_1000_customers_high"]
    [whole] = history("show", "complaint-rate", "--days", "120", "--json").rows
    assert whole["complaints"] == sum(row["complaints"] for row in rows)
    table = history(*asked).out
    assert "per 1,000" in table
    assert max(map(len, table.splitlines())) <= 100


def test_the_rates_of_months_add_up_to_the_window(history: History) -> None:
    months = history("show", "complaint-rate", "--by", "month", "--days", "100", "--json").rows
    [whole] = history("show", "complaint-rate", "--days", "100", "--json").rows
    assert len(months) in (4, 5)
    for name in ("complaints", "contacts", "decided"):
        assert sum(row[name] for row in months) == whole[name]
    days = [(date.fromisoformat(row["first"]), date.fromisoformat(row["last"])) for row in months]
    assert days[0][0].isoformat() == whole["first"]
    assert all(before[1] + DAY == after[0] for before, after in pairwise(days))


def test_by_product_and_channel_there_is_no_rate_per_customer(history: History) -> None:
    for dimension in ("product", "channel"):
        rows = history("show", "complaint-rate", "--by", dimension, "--days", "120", "--json").rows
        assert {row["customers"] for row in rows} == {None}
    filtered = history("show", "complaint-rate", "--where", "segment=mass", "--where", "channel=app", "--json").rows
    assert {row["customers"] for row in filtered} == {None}


def test_a_rate_as_of_a_day_is_that_of_the_window_before_it(history: History) -> None:
    at = history.now.date() - 40 * DAY
    asked = ("show", "complaint-rate", "--by", "segment", "--days", "60", "--json")
    then = history(*asked, "--at", at.isoformat()).rows
    now = history(*asked, "--until", (at - DAY).isoformat()).rows
    names = ("segment", "first", "last", "complaints", "contacts", "customers", "decided")
    known = [row for row in now if _any(row)]
    assert [[row[name] for name in names] for row in then] == [[row[name] for name in names] for row in known]
    assert sum(row["complaints"] for row in then) > 0


def _any(row: dict[str, Any]) -> bool:
    """Whether something was there already: groups that came later are not known then."""
    return bool(row["complaints"] or row["contacts"] or row["customers"] or row["decided"])


def test_costs_are_told_with_their_rate_and_that_it_is_not_the_banks_own(history: History) -> None:
    asked = ("show", "effect", "--date", (history.now - 40 * DAY).date().isoformat())
    rate = json.loads(history(*asked, "--json").out)["cost_rate"]
    assert (rate["hourly_minor"], rate["currency"]) == (3_000, "EUR")
    assert "stands in until the bank sets it" in rate["source"]
    for told in (history(*asked).out, history(*asked, "--csv").err):
        assert "Costs are at 30.00 EUR an hour of work" in told
        assert "stands in until" in told


def test_an_effect_says_for_each_measure_whether_it_is_more_than_chance(history: History) -> None:
    day = (history.now - 40 * DAY).date().isoformat()
    rows = history("show", "effect", "--date", day, "--window", "60", "--json").rows
    measures = {row["measure"] for row in rows}
    assert {"complaint_rate", "in_deadline", "reopen_rate", "churn_rate", "first_contact_resolution"} <= measures
    for row in rows:
        assert row["suppressed"] == (min(row["n_before"], row["n_after"]) < 10)
        assert row["suppressed"] <= (row["before"] is None and row["significant"] is None)
        assert row["provisional"]
        if None not in (row["low"], row["change"], row["high"]):
            assert row["low"] <= row["change"] <= row["high"]
    by = history("show", "effect", "--date", day, "--by", "project", "--window", "60", "--json").rows
    assert {"project_id"} < set(by[0])
    table = history("show", "effect", "--date", day, "--by", "segment")
    assert "too few" in table.out
    assert max(map(len, table.out.splitlines())) <= 100
    assert len(history("show", "effect", "--date", day, "--limit", "1", "--ndjson").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("complaint-rate", "--by", "owner"), "use channel, branch"),
        (("complaint-rate", "--where", "branch"), "write NAME=VALUE with one of"),
        (("complaint-rate", "--where", "branch=a", "--where", "branch=b"), "given twice"),
        (("effect", "--date", "2999-01-01"), "no day since 2999-01-01 is over"),
        (("effect",), "--date"),
        (("action", "no-such"), "no-such"),
    ],
)
def test_what_cannot_be_asked_is_told(history: History, asked: tuple[str, ...], told: str) -> None:
    done = history("show", *asked)
    assert done.code != 0
    assert told in done.err


def test_clusters_are_told_with_how_many_were_looked_at(history: History) -> None:
    document = json.loads(history("show", "root-causes", "--all", "--limit", "0", "--json").out)
    assert document["looked_at"] == len(document["rows"]) > 0
    assert document["alerts"] == sum(row["state"] in ("alert", "new") for row in document["rows"])
    shown = history("show", "root-causes", "--all")
    assert f"{document['looked_at']} clusters" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 100
    some = [row for row in document["rows"] if row["count"]]
    assert some
    row = some[0]
    cluster = (row["product"], row["cause"], row["branch"])
    cases = history("show", "root-causes", "--cases", *cluster, "--json").rows
    assert len(cases) == row["count"]
    assert "Complaints of a cluster" in history("show", "root-causes", "--cases", *cluster).out
    one = history("show", "root-causes", "--all", "--branch", row["branch"], "--product", row["product"], "--json").rows
    assert {(r["product"], r["branch"]) for r in one} == {(row["product"], row["branch"])}


def test_an_action_is_opened_closed_and_judged(copied: History) -> None:
    assert copied("setup").code == 0
    due, since = ((copied.now + days * DAY).date().isoformat() for days in (30, -30))
    told = ("--owner", "m-1", "--due", due, "--description", "tell the fee first", "--branch", "Leeds")
    opened = copied("actions", "open", "fees", *told)
    assert (opened.code, "action fees opened" in opened.out) == (0, True)
    store(copied.postgres, copied.kafka)
    [row] = copied("actions", "list", "--open", "--json").rows
    told_row = {"action_id": "fees", "owner": "m-1", "due": due, "branch": "Leeds", "product": None, "result": None}
    assert told_row.items() <= row.items()
    assert "open" in copied("actions", "list").out
    assert copied("actions", "close", "fees", "--effective", since, "--note", "in all branches").code == 0
    store(copied.postgres, copied.kafka)
    asked = ("show", "action", "fees", "--window", "30")
    [judged] = copied(*asked, "--json").rows
    assert (judged["result"], judged["since"], judged["days_after"]) == ("done", since, 30)
    assert judged["complaints_before"] + judged["complaints_after"] > 0
    assert judged["significant"] in (True, False)
    [line] = csv.DictReader(copied(*asked, "--csv").out.splitlines())
    assert line["action_id"] == "fees"
    assert "in all branches" in copied(*asked).out
    assert copied("actions", "list", "--open", "--json").rows == []


def test_an_action_that_no_worker_would_take_is_not_published(history: History) -> None:
    done = history("actions", "open", "an id", "--owner", "m", "--due", "2026-04-30", "--description", "x")
    assert done.code == 1
    assert "action_id" in done.err


def test_actions_need_a_broker_and_are_asked_for_it() -> None:
    done = kehu("actions", "close", "fees")
    assert done.code == 2
    assert "KEHU_KAFKA" in done.err
