"""All rows of four public files through the command line, Kafka and the worker into the read models.

What the files say is counted independently in `test_real_data_adapters.py`; here it is what the read models must show.
"""

import json
import subprocess
import sys

import pytest

from tests.acceptance.test_real_data_adapters import data_file, plain_rows, ticket_counts
from tests.support.processes import ROOT, Kehu, until

FILES = {
    "service_desk": "service_desk_events.csv.gz",
    "cfpb_complaints": "complaints.csv",
    "bank_transactions": "bank_transactions.csv.gz",
    "nps_answers": "nps_answers.csv.gz",
}


def published(kehu: Kehu, adapter: str, name: str) -> dict[str, int]:
    """Convert a file and publish it as a user does: `python -m examples.… FILE | kehu publish -`; events by topic."""
    converted = kehu.folder / f"{adapter}.jsonl"
    with converted.open("wb") as out, (kehu.folder / "report").open("ab") as report:
        command = [sys.executable, "-m", f"examples.{adapter}", str(data_file(name))]
        subprocess.run(command, cwd=ROOT, stdout=out, stderr=report, check=True, timeout=120)
    with converted.open("rb") as lines:
        done = kehu.run("publish", "-", stdin=lines)
    assert done.returncode == 0, done.stderr
    topics = {"service_desk": "complaints", "cfpb_complaints": "complaints", "bank_transactions": "transactions"}
    with converted.open("rb") as lines:
        return {f"kehu.{topics.get(adapter, 'surveys')}": sum(1 for _ in lines)}


def test_every_row_arrives_and_the_read_models_say_what_the_files_say(kehu: Kehu) -> None:
    rows = {adapter: plain_rows(name) for adapter, name in FILES.items()}
    expected: dict[str, int] = {}
    for adapter, name in FILES.items():
        for topic, n in published(kehu, adapter, name).items():
            expected[topic] = expected.get(topic, 0) + n
    with kehu.worker():
        until(lambda: kehu.read() == sum(expected.values()) and kehu.all_folded(), 240)
    shown = {row["topic"]: row for row in json.loads(kehu.done("show", "reconciliation", "--json"))}
    for topic, n in expected.items():
        assert shown[topic]["read"] == n == shown[topic]["appended"] + shown[topic]["duplicate"]

    tickets, over, still_open, reopened = ticket_counts(rows["service_desk"])
    desk = "FROM kehu.queue_items WHERE item_id LIKE 'complaint-INC%'"
    assert kehu.one(f"SELECT count(*) {desk}") == tickets
    assert kehu.one(f"SELECT count(*) {desk} AND status IN ('resolved', 'closed')") == over
    assert kehu.one(f"SELECT count(*) {desk} AND open") == still_open
    assert kehu.one(f"SELECT sum(reopened) {desk}") == reopened > 0

    complaints = {tuple(row.values()): row for row in rows["cfpb_complaints"]}.values()
    answered = [row for row in complaints if row["company_response_to_consumer"].startswith("Closed")]
    disputed = sum(row["consumer_disputed"] == "Yes" for row in answered)
    cfpb = "FROM kehu.queue_items WHERE kind = 'case' AND item_id NOT LIKE 'complaint-INC%'"
    assert kehu.one(f"SELECT count(*) {cfpb}") == len(complaints)
    assert kehu.one(f"SELECT count(*) {cfpb} AND open") == len(complaints) - len(answered) + disputed
    assert kehu.one(f"SELECT sum(reopened) {cfpb}") == disputed

    posted = "FROM kehu.customer_timeline WHERE type LIKE 'transaction.posted%'"
    assert kehu.one(f"SELECT count(*) {posted}") == len(rows["bank_transactions"])

    scores = [int(row["NPS"]) for row in rows["nps_answers"]]
    nps = 100 * (sum(score >= 9 for score in scores) - sum(score <= 6 for score in scores)) / len(scores)
    summaries = json.loads(kehu.done("show", "satisfaction", "--by", "product", "--json"))["rows"]
    (overall,) = [one for one in summaries if one["metric"] == "nps"]
    assert overall["score"] == pytest.approx(nps, abs=0.001)
