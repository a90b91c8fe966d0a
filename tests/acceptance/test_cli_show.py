"""What the command line shows of a published history: every message accounted for, and each read model."""

import asyncio
import csv
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta

import psycopg
import pytest

from infra.kafka.producer import publish
from infra.kafka.topics import TOPICS
from projections.retention_risk import RETENTION_RISK
from projections.service_queues import next_deadline
from tests.support.cli import EVENTS, History, kehu, store, story
from tests.support.project import ROOT

RISK = f"retention_risk_v{RETENTION_RISK.version}.retention_risk"


def test_every_published_message_has_one_outcome(history: History) -> None:
    done = history("show", "reconciliation", "--json")
    assert (done.code, done.err) == (0, "")
    rows = {row["topic"]: row for row in done.rows}
    assert set(rows) == set(TOPICS.values())
    assert {row["verdict"] for row in rows.values()} == {"complete"}
    totals = {name: sum(row[name] for row in rows.values()) for name in ("published", "read", "appended", "duplicate")}
    expected = history.expected
    told = 3  # of the story's messages are appended, one waits, two died
    assert totals == {
        "published": EVENTS + told + 3,
        "read": EVENTS + told + 3,
        "appended": expected.appended + told,
        "duplicate": expected.duplicates,
    }
    assert sum(row["parked"] for row in rows.values()) == expected.never_healing + 1
    assert sum(row["dead"] for row in rows.values()) == expected.dead + 2
    for row in rows.values():
        assert row["published"] == row["appended"] + row["duplicate"] + row["parked"] + row["dead"]
        assert sum(row["dead_by_rule"].values()) == row["dead"]
        assert sum(row["parked_by_rule"].values()) == row["parked"]
    assert rows["kehu.surveys"]["dead_by_rule"]["wrong-content-type"] == 1


def test_without_a_broker_only_the_stores_own_counts_are_compared(history: History) -> None:
    done = kehu("show", "reconciliation", "--postgres", history.postgres, "--topic", "kehu.surveys", "--json")
    assert done.code == 0
    (row,) = done.rows
    assert (row["published"], row["unread"], row["difference"]) == (None, None, None)
    assert (row["balanced"], row["verdict"]) == (True, "consistent")
    assert "not asked from the broker" in kehu("show", "reconciliation", "--postgres", history.postgres).out


def test_counters_that_differ_from_the_tables_are_told(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("DELETE FROM kehu.dead_letters WHERE rule = 'wrong-content-type'")
    done = kehu("show", "reconciliation", "--postgres", copied.postgres, "--json")
    assert done.code == 1
    assert "Not every published message is accounted for" in done.err
    (wrong,) = [row for row in done.rows if not row["balanced"]]
    assert wrong["topic"] == "kehu.surveys"
    assert "kept" in wrong["verdict"]


def test_offsets_without_an_outcome_are_not_called_lost_messages(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("UPDATE kehu.positions SET next_offset = next_offset + 7 WHERE topic = 'kehu.surveys'")
    done = kehu("show", "reconciliation", "--postgres", copied.postgres, "--json", "--topic", "kehu.surveys")
    assert done.code == 1
    assert done.rows[0]["verdict"].startswith("14 offsets without an outcome: messages deleted before")


def test_messages_that_nobody_read_are_counted(copied: History) -> None:
    assert copied("setup").code == 0
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("DELETE FROM kehu.positions")
        conn.execute("DELETE FROM kehu.parked")
        conn.execute("DELETE FROM kehu.dead_letters")
    assert copied("show", "reconciliation").code == 0
    asyncio.run(publish(copied.kafka, story(copied.now)))
    done = copied("show", "reconciliation", "--json")
    assert done.code == 1
    rows = {row["topic"]: row for row in done.rows}
    assert (rows["kehu.complaints"]["unread"], rows["kehu.complaints"]["verdict"]) == (4, "4 not read yet")
    assert rows["kehu.contacts"]["verdict"] == "complete"


def test_a_broker_that_lost_messages_is_told(copied: History) -> None:
    assert copied("setup").code == 0
    asyncio.run(publish(copied.kafka, story(copied.now)))
    store(copied.postgres, copied.kafka)
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(
            "UPDATE kehu.positions SET next_offset = next_offset + 2, duplicate = duplicate + 2 WHERE next_offset > 0"
            " AND topic = 'kehu.complaints' AND updated_at = (SELECT max(updated_at) FROM kehu.positions"
            " WHERE topic = 'kehu.complaints')"
        )
    done = copied("show", "reconciliation", "--json", "--topic", "kehu.complaints")
    assert done.code == 1
    (row,) = [row for row in done.rows if row["published"] is not None]
    assert (row["read"], row["published"], row["difference"]) == (6, 4, -2)
    assert row["verdict"].startswith("2 more read than the broker gave out")


def test_a_topic_that_was_made_anew_is_reconciled_apart(copied: History) -> None:
    assert copied("setup").code == 0
    rows = copied("show", "reconciliation", "--json", "--topic", "kehu.complaints").rows
    assert [row["published"] for row in rows] == [None, 0]
    assert rows[0]["verdict"] == "consistent; this topic was deleted or made anew since"


def test_satisfaction_of_a_window_is_part_of_the_whole(history: History) -> None:
    whole = history("show", "satisfaction", "--json").rows
    assert {row["metric"] for row in whole} == {"csat", "nps", "ces"}
    week = history("show", "satisfaction", "--days", "7", "--json").rows
    assert 0 < sum(row["invited"] for row in week) < sum(row["invited"] for row in whole)
    by_day = history("show", "satisfaction", "--by", "day", "--limit", "1000", "--json").rows
    first = (history.now - timedelta(days=30)).date().isoformat()
    last = (history.now - timedelta(days=1)).date().isoformat()
    expected = sum(row["invited"] for row in by_day if first <= row["day"] <= last)
    until = history("show", "satisfaction", "--days", "30", "--until", last, "--json").rows
    assert sum(row["invited"] for row in until) == expected > 0


def test_satisfaction_is_filtered_by_dimensions(history: History) -> None:
    whole = history("show", "satisfaction", "--by", "branch", "--json", "--where", "channel=email").rows
    some = history(
        "show", "satisfaction", "--by", "branch", "--json", "--where", "channel=email", "--where", "metric=nps"
    ).rows
    assert some == [row for row in whole if row["metric"] == "nps"]
    assert some
    assert all((row["n"] < 10) == row["suppressed"] == (row["score"] is None) for row in whole)


def test_retention_risk_is_ordered_and_explained(history: History) -> None:
    rows = history("show", "retention-risk", "--json", "--limit", "1000").rows
    scores = [row["probability"] for row in rows if row["probability"] is not None]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        if row["band"] in ("unknown", "closed"):
            assert row["probability"] is None
        else:
            points = sum(float(reason["points"]) for reason in row["reasons"])
            assert round(-3.0 + points, 1) == row["logit"]
    top = history("show", "retention-risk", "--json", "--limit", "2").rows
    assert [row["customer_id"] for row in top] == [row["customer_id"] for row in rows[:2]]
    branch = rows[0]["branch"]
    some = history("show", "retention-risk", "--json", "--limit", "1000", "--branch", branch, "--band", "high").rows
    assert [row["customer_id"] for row in some] == [
        row["customer_id"] for row in rows if row["branch"] == branch and row["band"] == "high"
    ]


def test_one_customers_risk_names_the_events_behind_each_reason(history: History) -> None:
    (row,) = history("show", "retention-risk", "--customer", "c-told", "--json").rows
    reasons = {reason["code"]: reason for reason in row["reasons"]}
    assert reasons["open-complaint"]["sources"] == ["/told#told-again"]
    assert reasons["complaint-rejected"]["sources"] == ["/told#told-resolved"]
    shown = history("show", "retention-risk", "--customer", "c-told").out
    assert "open complaint" in shown
    assert "/told#told-again" in shown


def test_a_score_whose_time_has_come_is_computed_anew(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(
            f"UPDATE {RISK} SET band = 'low', probability = 0.01, reasons = '[]',"
            " next_change_at = now() - interval '1 h' WHERE customer_id = 'c-told'"
        )
    old = kehu("show", "retention-risk", "--postgres", copied.postgres, "--customer", "c-told", "--json").rows[0]
    assert len(old["reasons"]) >= 2
    assert old["probability"] > 0.01
    low = kehu("show", "retention-risk", "--postgres", copied.postgres, "--band", "low", "--limit", "1000", "--json")
    assert "c-told" not in {row["customer_id"] for row in low.rows} or old["band"] == "low"


def test_a_customer_of_whom_nothing_is_known_is_unknown_and_last(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(
            f"INSERT INTO {RISK} (customer_id, band, reasons, features, scored_at, position)"
            " VALUES ('c-nobody', 'unknown', '[]', '{}', now(), 1)"
        )
    asked = ("show", "retention-risk", "--postgres", copied.postgres)
    rows = kehu(*asked, "--limit", "1000", "--json").rows
    known = [row["customer_id"] for row in rows if row["band"] != "closed"]
    assert known[-1] == "c-nobody"
    (row,) = kehu(*asked, "--customer", "c-nobody", "--json").rows
    assert (row["band"], row["probability"]) == ("unknown", None)
    assert "unknown is no low risk" in kehu(*asked, "--customer", "c-nobody").out
    table = kehu(*asked, "--band", "unknown").out
    assert "0.0 %" not in table
    assert "c-nobody" in table


def test_queues_are_counted_with_their_deadlines(history: History) -> None:
    rows = history("show", "queues", "--json").rows
    (told,) = [row for row in rows if row["queue"] == "told"]
    assert (told["kind"], told["open"], told["overdue_statutory"], told["overdue_service"]) == ("case", 1, 1, 1)
    assert (told["inflow_7d"], told["outflow_7d"]) == (0, 1)
    assert told["age_max"] >= 100 * 86_400
    assert {row["kind"] for row in rows} == {"case", "contact"}
    assert history("show", "queues", "--queue", "told", "--json").rows[0]["open"] == 1
    assert {row["kind"] for row in history("show", "queues", "--kind", "contact", "--json").rows} == {"contact"}
    table = history("show", "queues").out
    assert "Queues of contacts" in table
    assert "100 d" in table


def test_cases_are_listed_with_the_overdue_first(history: History) -> None:
    rows = history("show", "cases", "--json", "--limit", "1000").rows
    states = [row["state"] for row in rows]
    assert states == sorted(states, key=("overdue", "at risk", "in time").index)
    overdue = history("show", "cases", "--json", "--overdue", "--limit", "1000").rows
    assert [row["case"] for row in overdue] == [row["case"] for row in rows if row["state"] == "overdue"]
    (told,) = history("show", "cases", "--queue", "told", "--json").rows
    assert (told["case"], told["customer_id"], told["state"]) == ("told-2", "c-told", "overdue")
    assert datetime.fromisoformat(told["statutory_due"]) < history.now
    assert [row["case"] for row in history("show", "cases", "--customer", "c-told", "--json").rows] == ["told-2"]
    assert "ago" in history("show", "cases", "--queue", "told").out


def test_running_deadlines_are_listed_by_clock_with_whose_work_they_are(history: History) -> None:
    asked = ("show", "deadlines", "--limit", "0", "--json")
    rows = history(*asked).rows
    assert [row["due_at"] for row in rows] == sorted(row["due_at"] for row in rows)
    told = {(row["case"], row["clock"]): row["state"] for row in rows if row["queue"] == "told"}
    assert told == {("told-2", "statutory"): "overdue", ("told-2", "service"): "overdue"}
    for name in ("clock", "queue", "regime", "preset"):
        value = rows[0][name]
        some = [(row["case"], row["clock"]) for row in rows if row[name] == value]
        for option in ((f"--{name}", value), ("--where", f"{name}={value}")):
            assert [(row["case"], row["clock"]) for row in history(*asked, *option).rows] == some
    soon = (history.now - timedelta(days=100) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    then = history(*asked, "--queue", "told", "--where", "priority=1", "--at", soon).rows
    assert {(row["case"], row["clock"]): row["state"] for row in then} == dict.fromkeys(told, "in time")
    assert history(*asked, "--known-at", "2001-01-01").rows == []
    assert "ago" in history("show", "deadlines", "--queue", "told").out
    for option, remedy in (
        (("--state", "late"), "use overdue, at risk, in time"),
        (("--clock", "wall"), "use statutory"),
    ):
        wrong = history(*asked, *option)
        assert (wrong.code, remedy in wrong.err) == (2, True)


def test_a_case_at_risk_comes_before_one_with_an_earlier_deadline(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("UPDATE kehu.queue_items SET open = false WHERE queue <> 'told'")
        for case, started, due in (("told-1", 30, 5), ("told-2", 1, 3)):
            clocks = {
                "statutory_due": copied.now + timedelta(days=due),
                "statutory_at_risk_at": copied.now + timedelta(days=due - (started + due) / 4),
                "service_due": None,
                "service_at_risk_at": None,
            }
            item = {"open": True, **clocks, **next_deadline(clocks), "item_id": f"complaint-{case}"}
            columns = ", ".join(f"{name} = %({name})s" for name in item)
            conn.execute(f"UPDATE kehu.queue_items SET {columns} WHERE item_id = %(item_id)s".encode(), item)
    rows = kehu("show", "cases", "--postgres", copied.postgres, "--json").rows
    assert [(row["case"], row["state"]) for row in rows] == [("told-1", "at risk"), ("told-2", "in time")]


def test_a_customers_timeline_is_filtered(history: History) -> None:
    rows = history("show", "customer", "c-told", "--json").rows
    assert [(row["event_id"], row["type"].removeprefix("complaint.")) for row in rows] == [
        ("told-resolved", "resolved"),
        ("told-resolved", "deadline-missed"),  # of both clocks
        ("told-resolved", "deadline-missed"),
        ("told-again", "opened"),
        ("told-opened", "opened"),
    ]
    assert history("show", "customer", "c-told", "--kind", "survey", "--json").rows == []  # the answer waits
    assert len(history("show", "customer", "c-told", "--kind", "complaint.opened", "--json").rows) == 2
    since = (history.now - timedelta(days=110)).date().isoformat()
    assert len(history("show", "customer", "c-told", "--since", since, "--json").rows) == 4
    assert len(history("show", "customer", "c-told", "--limit", "1", "--json").rows) == 1


def test_a_customer_is_shown_with_risk_and_open_cases(history: History) -> None:
    told = json.loads(history("show", "customer", "c-told", "--json", "--kind", "survey").out)
    assert (told["scores"]["retention"], told["rows"]) == (
        history("show", "retention-risk", "--customer", "c-told", "--json").rows[0],
        [],
    )
    assert [case["case"] for case in told["cases"]] == ["told-2"]
    assert set(told["freshness"]) == {"customers", "customer_timeline", "retention_risk", "service_queues"}
    shown = history("show", "customer", "c-told").out
    assert "retention risk" in shown
    assert "told-2" in shown


LISTS = (
    ("show", "satisfaction"),
    ("show", "retention-risk"),
    ("show", "queues"),
    ("show", "cases"),
    ("show", "deadlines"),
    ("show", "customer", "c-told"),
    ("show", "complaint-rate", "--by", "branch"),
    ("show", "root-causes", "--all"),
    ("show", "customers"),
    ("dead-letters", "list"),
    ("parked", "list"),
    ("events", "catalog"),
)
"""What --limit cuts."""


@pytest.mark.parametrize("asked", LISTS, ids=" ".join)
def test_all_rows_are_given_when_no_limit_is_wanted(history: History, asked: tuple[str, ...]) -> None:
    whole = [json.loads(line) for line in history(*asked, "--limit", "0", "--ndjson").out.splitlines()]
    many = [json.loads(line) for line in history(*asked, "--limit", "100000", "--ndjson").out.splitlines()]
    assert len(whole) == len(many) > 0
    cut = history(*asked, "--limit", "1", "--ndjson")
    assert len(cut.out.splitlines()) == 1
    assert "--limit 0 gives all" in cut.err


PEAK = """
import sys
from benchmarks.lines import peak_rss
from infra.cli.main import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(f" {peak_rss()}")
"""


@pytest.mark.parametrize("form", ["--json", "--csv", "--ndjson"])
def test_an_export_of_any_length_needs_little_memory(copied: History, form: str) -> None:
    rows, long = 40_000, 2000
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(
            "INSERT INTO kehu.dead_letters (topic, topic_id, partition, kafka_offset, kafka_timestamp, header_names,"
            " header_values, rule, detail, died_at) SELECT 'kehu.surveys', 'x', 0, n, 0, '{}', '{}', 'bad-json',"
            " repeat(md5(n::text), %s), now() FROM generate_series(1, %s) n",
            (long // 32, rows),
        )

    def peak(limit: int) -> tuple[int, float]:
        command = [sys.executable, "-c", PEAK, "dead-letters", "list", form, "--limit", str(limit)]
        env = {**os.environ, "KEHU_POSTGRES": copied.postgres, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return len(done.stdout), float(done.stderr.split()[-1])

    (_, before), (exported, after) = peak(1), peak(0)
    assert exported > rows * long * 0.9
    assert after - before < 15


@pytest.mark.parametrize(
    "asked",
    [
        *LISTS,
        ("show", "reconciliation"),
        ("dead-letters", "list", "--summary"),
        ("projections", "status"),
        ("projections", "check"),
        ("risk", "compare", "champion", "cold_start"),
        ("risk", "compare", "champion", "cold_start", "--limit", "0"),
        ("views", "list"),
        ("trace", "told-opened"),
        ("trace", "--stream", "complaint-told-1"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_what_is_listed_is_the_same_as_csv_and_as_json(history: History, asked: tuple[str, ...]) -> None:
    rows = history(*asked, "--json").rows
    table = list(csv.DictReader(history(*asked, "--csv").out.splitlines()))
    assert len(table) == len(rows) > 0
    assert list(table[0]) == list(rows[0])
    lines = [json.loads(line) for line in history(*asked, "--ndjson").out.splitlines()]
    assert [list(line) for line in lines] == [list(row) for row in rows]
    shown = history(*asked)
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 100


def test_views_are_chosen_by_their_read_model_and_by_what_waits(history: History) -> None:
    every = history("views", "list", "--json").rows
    some = history("views", "list", "--read-model", "service-queues", "--json").rows
    assert some == [row for row in every if row["read_model"].startswith("service_queues ")]
    assert 0 < len(some) < len(every)
    assert history("views", "list", "--behind", "1e9", "--json").rows == []
    wrong = history("views", "list", "--read-model", "none")
    assert (wrong.code, "There is no such read model" in wrong.err) == (1, True)


def test_a_moment_that_is_over_is_shown_as_it_was(history: History) -> None:
    now = history("show", "queues", "--json").rows
    earlier = (history.now - timedelta(days=20)).strftime("%Y-%m-%d %H:%M")
    then = history("show", "queues", "--at", earlier, "--json").rows
    assert sum(row["inflow_7d"] for row in then) > 0
    assert sum(row["open"] for row in then) < sum(row["open"] for row in now)
    cases = history("show", "cases", "--at", earlier, "--limit", "0", "--json").rows
    assert cases
    assert all(row["opened_at"][:16].replace("T", " ") <= earlier for row in cases)
    risks = history("show", "retention-risk", "--at", earlier, "--limit", "0", "--json").rows
    assert {row["scored_at"][:16].replace("T", " ") <= earlier for row in risks} == {True}


def test_what_was_not_recorded_yet_was_not_known(history: History) -> None:
    assert history("show", "retention-risk", "--known-at", "2001-01-01", "--json").rows == []
    done = history("show", "customer", "nobody", "--known-at", "2001-01-01")
    assert (done.code, "Nothing is stored about this customer" in done.err) == (1, True)


def test_a_moment_that_lies_ahead_has_the_cases_of_today_with_its_clock(history: History) -> None:
    today = history("show", "cases", "--limit", "0", "--json").rows
    later = history("show", "cases", "--at", "2100-01-01", "--limit", "0", "--json").rows
    assert {row["case"] for row in later} == {row["case"] for row in today}
    assert {row["state"] for row in later if row["statutory_due"]} == {"overdue"}


def test_waiting_for_a_position_is_for_the_present(history: History) -> None:
    done = history("show", "queues", "--at", "2026-01-01", "--min-position", "5")
    assert (done.code, "leave out --at and --known-at" in done.err) == (2, True)


def test_queues_are_shown_by_any_dimension_with_filters(history: History) -> None:
    whole = history("show", "queues", "--json").rows
    for by in ("branch", "owner", "priority", "case_type", "product", "segment"):
        rows = history("show", "queues", "--by", by, "--limit", "0", "--json").rows
        assert sum(row["open"] for row in rows) == sum(row["open"] for row in whole), by
        assert len({(row[by], row["kind"]) for row in rows}) == len(rows), by
    york = history("show", "queues", "--by", "queue", "--where", "branch=Leeds", "--kind", "case", "--json").rows
    cases = history("show", "cases", "--where", "branch=Leeds", "--limit", "0", "--json").rows
    assert sum(row["open"] for row in york) == len(cases) > 0
    assert {row["branch"] for row in cases} == {"Leeds"}


def test_cases_have_a_state_and_are_chosen_by_it(history: History) -> None:
    every = history("show", "cases", "--limit", "0", "--json").rows
    for state in ("overdue", "at risk", "in time"):
        rows = history("show", "cases", "--state", state, "--limit", "0", "--json").rows
        assert {row["state"] for row in rows} <= {state}
        assert len(rows) == sum(row["state"] == state for row in every)
    assert all(row["breach"] is None or 0 <= row["breach"] <= 1 for row in every)
    done = history("show", "cases", "--state", "fine")
    assert (done.code, "use overdue, at risk, in time, no deadline" in done.err) == (2, True)


def test_what_is_to_be_expected_and_who_is_needed_is_shown(history: History) -> None:
    foretold = history("show", "queues", "--forecast", "--json").rows
    assert all(0 <= row["expected_24h"] <= row["expected_7d"] for row in foretold)
    rows = history("show", "staffing", "--json").rows
    assert {row["day"] for row in rows} == {"busiest", "mean"}
    assert all(row["agents"] >= 1 and row["service_level"] >= 0.8 for row in rows)
    assert "Agents needed, from 7 days" in history("show", "staffing", "--days", "7").out
    wrong = history("show", "queues", "--where", "mood=good")
    assert (wrong.code, "write NAME=VALUE with one of queue, branch" in wrong.err) == (2, True)


def test_satisfaction_is_grouped_by_several_dimensions_and_by_periods(history: History) -> None:
    whole = history("show", "satisfaction", "--by", "channel", "--limit", "0", "--json").rows
    for by in ("channel,branch", "month", "quarter,channel", "week"):
        rows = history("show", "satisfaction", "--by", by, "--limit", "0", "--json").rows
        assert sum(row["invited"] for row in rows) == sum(row["invited"] for row in whole), by
        assert all(name in row for row in rows for name in by.split(","))
    two = [row for row in whole if row["channel"] in ("app", "email")]
    chosen = history("show", "satisfaction", "--where", "channel=app", "--where", "channel=email", "--json").rows
    assert sum(row["invited"] for row in chosen) == sum(row["invited"] for row in two) > 0
    wrong = history("show", "satisfaction", "--by", "mood")
    assert (wrong.code, "use day, channel" in wrong.err) == (2, True)


def test_rolling_windows_are_those_of_the_days(history: History) -> None:
    asked = ("show", "satisfaction", "--by", "channel", "--limit", "0", "--json")
    series = history(*asked, "--rolling", "30", "--every", "10").rows
    ends = sorted({row["until"] for row in series})
    assert len(ends) > 2
    last = history(*asked, "--days", "30").rows
    newest = [{n: v for n, v in row.items() if n != "until"} for row in series if row["until"] == ends[-1]]
    assert newest == last


def test_a_change_is_told_with_both_periods(history: History) -> None:
    middle = history.now.date() - timedelta(days=30)
    before = f"{middle - timedelta(days=400)}..{middle - timedelta(days=1)}"
    after = f"{middle}..{history.now.date()}"
    asked = ("show", "satisfaction-change", "--before", before, "--after", after)
    rows = history(*asked, "--min-n", "1", "--json").rows
    assert rows
    shown = [row for row in rows if row["delta"] is not None]
    assert shown
    assert all(row["low"] <= row["delta"] <= row["high"] for row in shown)
    assert all(row["n_before"] and row["n_after"] for row in shown)
    assert "Change of satisfaction" in history(*asked).out
    wrong = history("show", "satisfaction-change", "--before", "2026-03", "--after", after)
    assert (wrong.code, "write 2026-01-01..2026-03-31" in wrong.err) == (2, True)


def test_answers_are_exported_row_by_row_with_filters(history: History) -> None:
    summary = history("show", "satisfaction", "--by", "channel", "--limit", "0", "--json").rows
    exported = history("show", "answers", "--limit", "0", "--csv")
    rows = list(csv.DictReader(exported.out.splitlines()))
    assert len(rows) == sum(row["n"] for row in summary) > 0
    assert len({row["invitation_id"] for row in rows}) == len(rows)
    best = history(
        "show", "answers", "--where", "metric=nps", "--where", "score=10", "--where", "score=9", "--json"
    ).rows
    assert {row["score"] for row in best} <= {9, 10}
    everybody = history("show", "answers", "--all", "--limit", "0", "--json").rows
    assert len(everybody) == sum(row["invited"] for row in summary)


def test_causes_are_counted_among_all_answers(history: History) -> None:
    rows = history("show", "causes", "--min-n", "1", "--json").rows
    summary = history("show", "satisfaction", "--by", "channel", "--limit", "0", "--json").rows
    assert {row["cause"] for row in rows} == {"reopened", "overdue", "transferred", "waited"}
    for metric in ("csat", "nps", "ces"):
        [one] = [
            row for row in rows if (row["metric"], row["cause"]) == (metric, "waited") and row["scale"] in (5, 7, 10)
        ][:1]
        n = sum(row["n"] for row in summary if (row["metric"], row["scale"]) == (metric, one["scale"]))
        assert one["low"] + one["others"] == n
        assert one["low_with"] <= one["low"]
    assert "What came before low answers" in history("show", "causes", "--where", "metric=csat").out
