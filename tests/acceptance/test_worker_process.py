"""The worker as its users run it: killed again and again, and fed by a client that is not ours."""

import asyncio
import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaConsumer

from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Fact
from examples.bank import Bank
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka import codec, envelopes
from infra.kafka.producer import send
from infra.kafka.topics import DEAD_LETTERS
from tests.support.builders import fact
from tests.support.letters import dead_letters as letters_of
from tests.support.processes import Kehu, require, until

# What does not depend on when a batch ended: a score is that of the moment when a row was looked at, and the order of
# messages of different topics is nobody's promise.
STATE = {
    # What is encrypted is another each time.
    "streams": "stream, version, type, meta, data, hidden FROM kehu.event_log",
    "inbox": "key, content, stream FROM kehu.inbox",
    "parked": "stream, topic, partition, kafka_offset, rule FROM kehu.parked",
    "dead letters": "topic, partition, kafka_offset, rule FROM kehu.dead_letters",
    "positions": "topic, partition, next_offset, appended, duplicate, parked, dead FROM kehu.positions",
    "satisfaction": "to_jsonb(t) - 'position' - 'changed_at' FROM kehu.satisfaction_daily t",
    "invitations": "to_jsonb(t) - 'position' - 'changed_at' FROM kehu.satisfaction_invitations t",
    "queues": "to_jsonb(t) - 'position' - 'changed_at' FROM kehu.queue_items t",
    "flow": "to_jsonb(t) - 'position' - 'changed_at' FROM kehu.queue_flow t",
    "timeline": "customer_id, occurred_at, summary FROM kehu.customer_timeline",
    "customers": "to_jsonb(t) - 'position' - 'changed_at' - 'set_by' FROM kehu.customers t",
    "consents": "to_jsonb(t) - 'position' - 'changed_at' FROM kehu.customer_consents t",
    "projects": "to_jsonb(t) - 'position' - 'changed_at' FROM kehu.customer_projects t",
    "features": "customer_id, features FROM kehu.retention_risk",
}


def state(kehu: Kehu) -> dict[str, Any]:
    """Streams and read models, each as a digest of its rows in an order of their own."""
    return {
        name: kehu.one(f"SELECT md5(string_agg(md5(r::text), '' ORDER BY md5(r::text))) FROM (SELECT {of}) r")
        for name, of in STATE.items()
    }


def answered(number: int) -> list[Fact]:
    """An invitation and its answer."""
    customer, invitation = f"c{number % 97}", f"i{number}"
    invited = SurveyInvited(invitation_id=invitation, metric="nps", scale=10, channel="app")
    answer = SurveyAnswered(invitation_id=invitation, score=number % 11)
    return [fact(one, f"{number}-{n}", customer=customer) for n, one in enumerate((invited, answer))]


def test_five_kills_leave_what_a_run_without_kills_leaves(kehu: Kehu, postgres_server: EmbeddedPostgres) -> None:
    events = 50_000 if kehu.apache else 15_000
    bank = Bank(seed=11, end=datetime(2026, 3, 2, tzinfo=UTC))
    messages = [(m.topic, m.key.encode(), m.value) for m in bank.messages(events)]
    asyncio.run(send(kehu.kafka, messages, lambda _n: None))
    quiet = replace(kehu, postgres=postgres_server.create_database(f"quiet_{kehu.apache}"))
    quiet.done("setup")
    with quiet.worker("quiet"):
        until(lambda: quiet.read() == events and quiet.all_folded())
    for kill in range(5):
        # A new group on the embedded broker, which takes six seconds to miss a member; Apache Kafka keeps the old one.
        with kehu.worker("kehu" if kehu.apache else f"kehu-{kill}") as worker:
            wanted = events * (2 * kill + 1) // 18  # up to the middle: the worker must not be done before it is killed
            until(lambda wanted=wanted: kehu.read() >= wanted)  # type: ignore[misc]
            assert kehu.read() < events, "the worker was faster than the test: it was not killed in the middle"
            worker.kill()
            worker.wait(15)
    with kehu.worker("kehu" if kehu.apache else "kehu-last"):
        until(lambda: kehu.read() == events and kehu.all_folded())
    assert state(kehu) == state(quiet)
    assert kehu.one("SELECT max(notification_id) - count(*) FROM kehu.stored_events") == 0
    kehu.done("show", "reconciliation")


def kcat(kehu: Kehu, topic: str, lines: list[bytes]) -> None:
    """Publish lines with kcat: the key before the first tab. It does not understand the embedded broker."""
    require("kcat")
    header = f"content-type={envelopes.STRUCTURED}"
    command = ["kcat", "-P", "-b", kehu.kafka, "-t", topic, "-K", "\\t", "-H", header, "-X", "acks=all"]
    subprocess.run(command, input=b"\n".join(lines), check=True, timeout=60, capture_output=True)


@pytest.mark.parametrize("kehu", [pytest.param("apache", marks=pytest.mark.kafka)], indirect=True)
def test_what_a_foreign_client_publishes_is_accounted_for_to_the_last_message(kehu: Kehu) -> None:
    facts = [one for number in range(500) for one in answered(number)]
    good = [b"%s\t%s" % codec.structured(one)[:2] for one in facts]
    bad = [b"c%d\t{not json %d" % (n, n) for n in range(10)]
    kcat(kehu, "kehu.surveys", good + bad + good[:10])
    with kehu.worker():
        until(lambda: kehu.read() == 1020 and kehu.all_folded())
        published = kehu.one("SELECT count(*) FROM kehu.dead_letters WHERE published")
        until(lambda: kehu.one("SELECT count(*) FROM kehu.dead_letters WHERE published") == 10)
    assert published <= 10
    rows = json.loads(kehu.done("show", "reconciliation", "--json"))
    (surveys,) = [row for row in rows if row["topic"] == "kehu.surveys"]
    counted = {name: surveys[name] for name in ("read", "appended", "duplicate", "parked", "dead")}
    assert counted == {"read": 1020, "appended": 1000, "duplicate": 10, "parked": 0, "dead": 10}
    letters = dead_letters(kehu, 10)
    assert {headers["kehu-rule"] for _, headers in letters} == {b"bad-json"}
    assert not any(b"not json" in value for value, _ in letters), "what may be personal is encrypted on a topic"
    stored = letters_of(kehu.postgres)
    assert {letter["value"] for letter in stored} == {line.partition(b"\t")[2] for line in bad}
    assert {dict(letter["headers"])["content-type"] for letter in stored} == {envelopes.STRUCTURED.encode()}


def dead_letters(kehu: Kehu, number: int) -> list[tuple[bytes, dict[str, bytes]]]:
    """Value and headers of what lies on the topic of dead letters."""
    consumer = KafkaConsumer(DEAD_LETTERS, bootstrap_servers=kehu.kafka, auto_offset_reset="earliest")
    found: list[tuple[bytes, dict[str, bytes]]] = []

    def polled() -> bool:
        for records in consumer.poll(timeout_ms=500).values():
            found.extend((record.value, dict(record.headers)) for record in records)
        return len(found) >= number

    try:
        until(polled, 20)
    finally:
        consumer.close()
    return found


def lines(*facts: Fact) -> bytes:
    """Facts as JSON lines."""
    return b"\n".join(codec.structured(one)[1] for one in facts)


def test_a_wrong_line_is_named_and_nothing_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    wrong = {**orjson.loads(lines(*answered(1)[:1])), "time": "yesterday"}
    file.write_bytes(lines(*answered(1)) + b"\n" + orjson.dumps(wrong))
    done = Kehu("", "127.0.0.1:1", tmp_path).run("publish", str(file))
    assert done.returncode == 1
    assert "line 3: bad-time" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    done = Kehu(f"host={tmp_path} dbname=x", "127.0.0.1:1", tmp_path).run("show", "reconciliation")
    assert done.returncode == 3
    assert "kehu setup" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_without_servers_waits_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with Kehu(f"host={tmp_path} dbname=x", "127.0.0.1:1", tmp_path).worker() as worker:
        until(lambda: b"waiting for Kafka at 127.0.0.1:1" in log.read_bytes())
        worker.terminate()
        assert worker.wait(20) == 0
    assert log.read_bytes().count(b"waiting for PostgreSQL") == 1
    assert b"Traceback" not in log.read_bytes()
