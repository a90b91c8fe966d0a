"""The adapters on public data: every line is a valid event, and the streams say what the files say.

What the files say is counted here a second time, with plain dictionaries and none of the adapters' code.
"""

import csv
import gzip
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from domain import handling
from domain.account import AccountMonth
from domain.complaint import Complaint
from domain.ports import Message, Partition
from domain.survey import Survey
from examples import bank_transactions, cfpb_complaints, common, nps_answers, service_desk
from infra.kafka import codec
from infra.kafka.topics import topic_of

DATA = Path(os.environ.get("KEHU_DATA") or Path(__file__).parents[3] / "shared" / "data")
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def data_file(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"no real data: {name} is not in {DATA}; set KEHU_DATA to its folder")
    return path


def plain_rows(name: str) -> list[dict[str, str]]:
    path = data_file(name)
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return list(csv.DictReader(StringIO(text, newline="")))


@dataclass
class Streams:
    """The states that an adapter's events lead to, and what became of the events."""

    states: dict[str, object] = field(default_factory=dict)
    stored: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    report: common.Report = field(default_factory=common.Report)


def streams_of(convert: common.Convert, rows: Iterator[dict[str, str]] | list[dict[str, str]]) -> Streams:
    """Read, validate, decide: an event that cannot be read, is refused or comes too early fails the test."""
    made, seen = Streams(), dict[bytes, bytes]()
    for event in convert(rows, made.report):
        topic = topic_of(event["type"].removeprefix("kehu."))
        message = Message(Partition(topic, "t", 0), 0, 0, event["subject"].encode(), orjson.dumps(event))
        fact = codec.decode(message, NOW)
        key, content = codec.identity(fact.meta), codec.content(fact)
        if key in seen:
            assert seen[key] == content
            made.duplicates += 1
            continue
        seen[key] = content
        stream = handling.stream_of(fact)
        made.states[stream], events = handling.handle(made.states.get(stream), fact)
        made.duplicates += not events
        made.stored.update(type(one).__name__ for one in events)
    assert made.report.unreadable == []
    return made


def statuses(made: Streams) -> Counter[str]:
    return Counter(state.status for state in made.states.values() if isinstance(state, Complaint))


def ticket_counts(rows: list[dict[str, str]]) -> tuple[int, int, int, int]:
    """Tickets, tickets that end resolved or closed, those that end open, and how often a state went back."""
    history: dict[str, list[tuple[int, str, str]]] = {}
    for row in rows:
        history.setdefault(row["number"], []).append(
            (int(row["sys_mod_count"]), row["sys_updated_at"], row["incident_state"])
        )
    over, reopened = 0, 0
    for versions in history.values():
        states = [state for _, _, state in sorted(versions) if state != "-100"]
        over += states[-1] in ("Resolved", "Closed")
        for before, after in pairwise(states):
            reopened += before in ("Resolved", "Closed") and after not in ("Closed", before)
    return len(history), over, len(history) - over, reopened


@pytest.mark.parametrize("until", ["2016-03-10", "2016-06-01", "9999"])
def test_the_service_desk_has_as_many_open_resolved_and_reopened_cases_as_its_log(until: str) -> None:
    rows = [row for row in plain_rows("service_desk_events.csv.gz") if row["sys_updated_at"] < until]
    made = streams_of(service_desk.convert, rows)
    tickets, over, still_open, reopened = ticket_counts(rows)
    status = statuses(made)
    assert made.stored["ComplaintOpened"] == len(made.states) == tickets
    assert status["resolved"] + status["closed"] == over
    assert status["open"] + status["waiting"] == still_open
    assert made.stored["ComplaintReopened"] == reopened > 0
    assert (still_open > 0) == (until != "9999")


def test_every_row_of_the_service_desk_is_at_least_one_event() -> None:
    rows = list(common.rows(data_file("service_desk_events.csv.gz")))
    report = common.Report()
    ids = {event["id"].rpartition("-")[0] for event in service_desk.convert(rows, report)}
    assert report.rows == len(rows)
    assert len(ids) == len({tuple(row.values()) for row in rows})


def test_complaints_end_as_their_columns_say() -> None:
    rows = {tuple(row.values()): row for row in plain_rows("complaints.csv")}.values()
    made = streams_of(cfpb_complaints.convert, common.rows(data_file("complaints.csv")))
    answered = [row for row in rows if row["company_response_to_consumer"].startswith("Closed")]
    disputed = sum(row["consumer_disputed"] == "Yes" for row in answered)
    status = statuses(made)
    assert made.report.rows == len(plain_rows("complaints.csv"))
    assert len(made.states) == made.stored["ComplaintOpened"] == len(rows)
    assert made.stored["ComplaintResolved"] == len(answered)
    assert made.stored["ComplaintReopened"] == disputed
    assert status["open"] == len(rows) - len(answered) + disputed
    upheld = sum(isinstance(one, Complaint) and one.outcome == "upheld" for one in made.states.values())
    relief = [row for row in answered if row["company_response_to_consumer"] == "Closed with monetary relief"]
    assert upheld == sum(row["consumer_disputed"] != "Yes" for row in relief)


def test_transactions_add_up_to_the_same_amount_for_each_account() -> None:
    expected: Counter[str] = Counter()
    rows = plain_rows("bank_transactions.csv.gz")
    for row in rows:
        minor = int(Decimal(row["amount"]) * 100)
        expected[row["account_id"]] += minor if row["type"] == "credit" else -minor
    made = streams_of(bank_transactions.convert, common.rows(data_file("bank_transactions.csv.gz")))
    sums: Counter[str] = Counter()
    for stream, state in made.states.items():
        assert isinstance(state, AccountMonth)
        account = stream.removeprefix("account-").partition(":")[0]
        sums[account] += sum(minor for minor, currency, _ in state.postings.values() if currency == "CZK")
    assert made.stored["TransactionPosted"] == len(rows)
    assert sums == expected


def test_the_net_promoter_score_is_that_of_the_file() -> None:
    answers = [int(row["NPS"]) for row in plain_rows("nps_answers.csv.gz")]
    made = streams_of(nps_answers.convert, common.rows(data_file("nps_answers.csv.gz")))
    scores = [state.score for state in made.states.values() if isinstance(state, Survey) and state.score is not None]

    def nps(given: list[int]) -> float:
        return 100 * (sum(score >= 9 for score in given) - sum(score <= 6 for score in given)) / len(given)

    assert len(scores) == len(answers)
    assert nps(scores) == nps(answers)


# --- without real data ---


def test_a_row_that_cannot_be_read_is_reported_and_the_others_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.csv.gz"
    path.write_bytes(gzip.compress(b"ID,Market,NPS,survey_date\n1,UK,9,2021-03-01\n2,UK,many,2021-03-01\n"))
    assert common.main(nps_answers.convert, "", [str(path)]) == 1
    written = capsys.readouterr()
    assert [orjson.loads(line)["id"] for line in written.out.splitlines()] == ["nps-1-invited", "nps-1-answered"]
    assert "2 rows read, 2 events written" in written.err
    assert "unreadable: row 2" in written.err


def test_a_ticket_is_followed_through_waiting_reopening_and_disorder() -> None:
    def row(version: int, state: str, at: str, group: str = "Group 1", priority: str = "3 - Moderate") -> common.Row:
        return {
            "number": "INC1",
            "incident_state": state,
            "sys_mod_count": str(version),
            "caller_id": "Caller 5",
            "opened_at": "2016-03-01 09:00:00",
            "sys_updated_at": f"2016-03-01 {at}:00",
            "contact_type": "Phone",
            "category": "Category 1",
            "priority": priority,
            "assignment_group": group,
            "assigned_to": "?",
            "resolved_at": "2016-03-01 23:00:00",
            "closed_at": "",
        }

    rows = [
        row(2, "Awaiting Vendor", "09:30", priority="2 - High"),
        row(1, "Active", "08:59", "Group 2"),
        row(0, "New", "09:10"),
        row(3, "-100", "09:40"),
        row(4, "Resolved", "09:40"),
        row(5, "Active", "10:00"),
        row(6, "Closed", "11:00"),
        row(6, "Closed", "11:00"),
    ]
    report = common.Report()
    made = [event["type"].split(".")[2] for event in service_desk.convert(rows, report)]
    assert made == [
        *("opened", "assigned", "assigned", "escalated", "waiting"),
        *("waiting", "resumed", "resolved", "reopened", "resolved", "closed", "resolved", "closed"),
    ]
    assert report.notes["rows that say again what was known"] == 1
    assert statuses(streams_of(service_desk.convert, rows)) == {"closed": 1}
