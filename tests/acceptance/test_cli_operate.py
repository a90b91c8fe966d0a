"""What operators do from the command line: follow a message, replay, rebuild, look for what is wrong."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.main import get_command

from consumers.projector import Projector
from domain.complaint import ComplaintOpened
from domain.values import CustomerId, Fact, Meta
from infra import bootstrap
from infra.cli import verify
from infra.cli.main import app
from infra.kafka import codec
from infra.kafka.producer import publish
from infra.kafka.topics import TOPICS, Topics
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from projections import satisfaction
from projections.catalogue import ALL
from tests.support.cli import History, kehu, store

ROOT = Path(__file__).parents[2]


# --- dead letters and parked messages ---


def test_dead_letters_are_filtered_and_counted(history: History) -> None:
    whole = history("dead-letters", "list", "--json", "--limit", "1000").rows
    assert len(whole) == history.expected.dead + 2
    (odd,) = history("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    assert (odd["topic"], odd["source"], odd["event_id"]) == ("kehu.surveys", None, None)
    surveys = history("dead-letters", "list", "--topic", "kehu.surveys", "--json").rows
    assert surveys == [letter for letter in whole if letter["topic"] == "kehu.surveys"]
    assert history("dead-letters", "list", "--source", "/nobody", "--json").rows == []
    tomorrow = (history.now + timedelta(days=1)).date().isoformat()
    assert history("dead-letters", "list", "--since", tomorrow, "--json").rows == []
    counts = history("dead-letters", "list", "--summary", "--json").rows
    assert sum(row["letters"] for row in counts) == len(whole)


def test_a_dead_letter_is_shown_with_headers_body_reason_and_remedy(history: History) -> None:
    (listed,) = history("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    letter = history("dead-letters", "show", str(listed["id"]), "--json").rows
    assert (letter["key"], letter["value"]) == ("c-told", "0xfffe")
    assert letter["headers"] == [
        {"name": "content-type", "value": "text/plain"},
        {"name": "trace", "value": "0x0080"},
    ]
    assert f"kehu dead-letters replay {listed['id']}" in letter["remedy"]
    shown = history("dead-letters", "show", str(listed["id"])).out
    assert "0xfffe" in shown
    assert "send application/cloudevents+json" in " ".join(shown.split())


def test_a_replayed_dead_letter_comes_again_as_it_was(copied: History) -> None:
    assert copied("setup").code == 0
    (listed,) = copied("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    assert copied("dead-letters", "replay", "--rule", "wrong-content-type", "--dry-run").out == (
        "1 dead letters would be replayed\n"
    )
    assert copied("dead-letters", "replay", "--rule", "wrong-content-type").out == "1 dead letters replayed\n"
    store(copied.postgres, copied.kafka)
    again, before = copied("dead-letters", "list", "--rule", "wrong-content-type", "--json").rows
    assert (before["id"], before["replayed_at"] is None) == (listed["id"], False)
    first = copied("dead-letters", "show", str(before["id"]), "--json").rows
    second = copied("dead-letters", "show", str(again["id"]), "--json").rows
    assert (second["key"], second["value"]) == (first["key"], first["value"])
    assert second["headers"] == [*first["headers"], {"name": "kehu-dead-letter", "value": str(before["id"])}]


def test_only_what_was_never_replayed_is_replayed_unless_it_is_named(copied: History) -> None:
    assert copied("setup").code == 0
    letters = len(copied("dead-letters", "list", "--json").rows)
    one = str(copied("dead-letters", "list", "--json", "--limit", "1").rows[0]["id"])
    assert copied("dead-letters", "replay", one).out == "1 dead letters replayed\n"
    assert copied("dead-letters", "replay", "--all").out == f"{letters - 1} dead letters replayed\n"
    assert copied("dead-letters", "replay", "--all").out == "0 dead letters replayed\n"
    assert copied("dead-letters", "replay", one).out == "1 dead letters replayed\n"
    store(copied.postgres, copied.kafka)
    assert len(copied("dead-letters", "list", "--json", "--limit", "1000").rows) == 2 * letters + 1
    assert copied("show", "reconciliation").code == 0


def test_what_kafka_cannot_take_back_is_told(copied: History) -> None:
    assert copied("setup").code == 0
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("UPDATE kehu.dead_letters SET key = NULL, value = NULL WHERE rule = 'wrong-content-type'")
    done = copied("dead-letters", "replay", "--rule", "wrong-content-type")
    assert (done.code, done.out) == (1, "0 dead letters replayed\n")
    assert "1 have neither key nor value" in done.err


def test_parked_messages_are_listed_and_shown(history: History) -> None:
    (listed,) = history("parked", "list", "--stream", "survey-told-3", "--json").rows
    assert listed["rule"] == "survey-not-invited-yet"
    assert history("parked", "list", "--topic", "kehu.customers", "--json").rows == []
    shown = history("parked", "show", str(listed["seq"]), "--json").rows
    assert json.loads(shown["value"])["id"] == "told-answer"
    assert "The invitation has not arrived yet" in shown["remedy"]
    assert "told-answer" in history("parked", "show", str(listed["seq"])).out


# --- trace ---


def test_an_event_is_traced_to_its_stream_its_kin_and_its_rows(history: History) -> None:
    (traced,) = history("trace", "told-opened", "--json").rows
    assert (traced["source"], traced["stream"]) == ("/told", "complaint-told-1")
    assert traced["events"][0]["type"] == "complaint.opened.v1"
    assert {(one["meta"]["id"], one["relation"]) for one in traced["related"]} == {("told-resolved", "caused by it")}
    rows = {(row["projection"], row["table"]): row for row in traced["rows"]}
    assert rows["service_queues", "queue_items"]["key"] == {"item_id": "complaint-told-1"}
    assert rows["retention_risk", "retention_risk"]["key"] == {"customer_id": "c-told"}
    timeline = rows["customer_timeline", "customer_timeline"]
    assert timeline["position"] == traced["events"][0]["position"]
    (cause,) = history("trace", "told-resolved", "--source", "/told", "--json").rows
    assert {one["relation"] for one in cause["related"] if one["meta"]["id"] == "told-opened"} == {"its cause"}
    shown = history("trace", "told-opened").out
    assert "Read-model rows" in shown
    assert "caused by it" in shown


def test_dead_parked_and_unknown_events_are_traced(history: History) -> None:
    (waits,) = history("trace", "told-answer", "--json").rows
    assert (waits["outcomes"], waits["parked"][0]["stream"]) == (["parked"], "survey-told-3")
    (both,) = history("trace", "told-opened", "--json").rows
    assert both["outcomes"] == ["appended", "dead"]
    assert [letter["rule"] for letter in both["dead_letters"]] == ["same-id-other-content"]
    unknown = history("trace", "told-opened", "--source", "/elsewhere")
    assert unknown.code == 1
    assert "No message with this id was read" in unknown.err


# --- rebuild ---


def test_a_rebuilt_read_model_has_the_same_rows(copied: History) -> None:
    asked = ("show", "customer", "c-told", "--json", "--postgres", copied.postgres)
    before = kehu(*asked).rows
    done = kehu("rebuild", "all", "--postgres", copied.postgres, "--json")
    assert done.code == 0
    rows = {row["projection"]: row for row in done.rows}
    assert set(rows) == {projection.name for projection in ALL}
    assert {row["same_rows"] for row in rows.values()} == {True}
    assert len({row["compared_at"] for row in rows.values()}) == 1
    assert kehu(*asked).rows == before


def test_a_read_model_that_was_changed_by_hand_differs_and_is_mended(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("UPDATE kehu.queue_items SET queue = 'elsewhere' WHERE queue = 'told'")
    (row,) = kehu("rebuild", "service-queues", "--postgres", copied.postgres, "--json").rows
    assert row["same_rows"] is False
    assert kehu("show", "queues", "--queue", "told", "--postgres", copied.postgres, "--json").rows[0]["open"] == 1


@pytest.mark.parametrize("batch", [300, 5000], ids=["a part of it", "all of it"])
def test_a_worker_that_folds_at_the_same_time_does_no_harm(
    copied: History, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    log, models = PostgresLog(copied.postgres), PostgresReadModels(copied.postgres)
    worker = Projector(log, models, ALL, batch=batch)
    fold = Projector.run_once

    def after_the_worker(ours: Projector) -> int:
        fold(worker)
        return fold(ours)

    monkeypatch.setattr(Projector, "run_once", after_the_worker)
    (row,) = kehu("rebuild", "satisfaction", "--postgres", copied.postgres, "--json").rows
    monkeypatch.undo()
    assert row["same_rows"] is True
    (again,) = kehu("rebuild", "satisfaction", "--postgres", copied.postgres, "--json").rows
    assert again["same_rows"] is True
    log.close()
    models.close()


def test_a_projection_that_stops_is_an_error(copied: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(satisfaction.FOLDS, "survey.scored")
    done = kehu("rebuild", "satisfaction", "--postgres", copied.postgres)
    assert done.code == 1
    assert "satisfaction: at position" in done.err
    assert "(survey.scored): KeyError" in done.err
    assert verdicts(copied("doctor", "--json").rows)["projection satisfaction"] == "wrong"


# --- doctor and verify ---


def verdicts(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["check"]: row["verdict"] for row in rows}


def test_the_doctor_finds_nothing_wrong_with_what_is_well(history: History) -> None:
    done = history("doctor", "--json")
    assert done.code == 0
    found = verdicts(done.rows)
    assert set(found.values()) == {"ok", "warning"}
    assert [name for name, verdict in found.items() if verdict == "warning"] == ["dead letters"]
    details = {row["check"]: row["detail"] for row in done.rows}
    assert details["ingest lag"].startswith("0 messages not read")
    assert details["parked"].startswith(f"{history.expected.never_healing + 1} messages wait")
    assert "1 wrong-content-type" in details["dead letters"]


def test_the_doctor_names_each_illness_and_its_remedy(copied: History) -> None:
    admin = Topics(copied.kafka)
    admin.create(["kehu.contacts"], partitions=1)
    admin.close()
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("UPDATE kehu.projections SET error = 'at position 7: KeyError' WHERE name = 'satisfaction'")
        conn.execute("DROP VIEW kehu.queue_flow")
    done = copied("doctor", "--json")
    assert done.code == 1
    rows = {(row["check"], row["verdict"]): row for row in done.rows}
    assert "kehu.surveys" in rows["topics", "wrong"]["detail"]
    assert "kehu.contacts" in rows["topic ids", "warning"]["detail"]
    assert rows["read models", "wrong"]["detail"] == "missing: kehu.queue_flow"
    stopped = rows["projection satisfaction", "wrong"]
    assert "at position 7" in stopped["detail"]
    assert "kehu rebuild satisfaction" in stopped["remedy"]
    assert all(row["remedy"] for row in done.rows if row["verdict"] in ("wrong", "warning"))


def test_the_doctor_sees_positions_beyond_what_the_broker_has(copied: History) -> None:
    assert copied("setup").code == 0
    admin = Topics(copied.kafka)
    topic_id = admin.ids(["kehu.surveys"])["kehu.surveys"]
    admin.close()
    with psycopg.connect(copied.postgres) as conn:
        conn.execute(
            "INSERT INTO kehu.positions (topic, topic_id, partition, next_offset) VALUES ('kehu.surveys', %s, 0, 9)",
            (topic_id,),
        )
    done = copied("doctor", "--json")
    assert done.code == 1
    (row,) = [row for row in done.rows if row["verdict"] == "wrong"]
    assert (row["check"], row["detail"]) == ("positions", "beyond the end of kehu.surveys 0: 9 of 0")


def test_the_doctor_works_without_servers(history: History) -> None:
    away = f"127.0.0.1:{_free_port()}"
    done = kehu("doctor", "--postgres", "host=/nowhere dbname=x", "--kafka", away, "--json")
    assert done.code == 1
    assert verdicts(done.rows) == {"Kafka": "wrong", "PostgreSQL": "wrong"}
    half = kehu("doctor", "--postgres", history.postgres, "--kafka", "", "--json")
    assert half.code == 0
    assert {name for name, verdict in verdicts(half.rows).items() if verdict == "skipped"} == {"Kafka", "ingest lag"}


def test_the_doctor_says_that_nothing_was_set_up(copied: History) -> None:
    with psycopg.connect(copied.postgres) as conn:
        conn.execute("DROP SCHEMA kehu CASCADE")
        conn.execute("DROP TABLE public.kehu_migrations")
    rows = kehu("doctor", "--postgres", copied.postgres, "--json").rows
    (schema,) = [row for row in rows if row["check"] == "schema"]
    assert (schema["verdict"], schema["remedy"]) == ("wrong", "Run `kehu setup`.")
    shown = kehu("show", "queues", "--postgres", copied.postgres)
    assert shown.code == 3
    assert "run `kehu setup`" in shown.err


def test_the_code_is_verified(history: History) -> None:
    done = kehu("verify", "--postgres", history.postgres, "--json")
    assert done.code == 0
    assert {row["verdict"] for row in done.rows} == {"ok"}
    assert verdicts(done.rows).keys() == {*verify.CHECKS, "migrations have run"}


def test_what_contradicts_itself_fails_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    for name in ("0001_pre_start.sql", "0003_pre_gap.sql", "0004_later.sql"):
        (migrations / name).touch()
    golden = tmp_path / "tests" / "data" / "events"
    golden.mkdir(parents=True)
    (golden / "survey.lost.v1.json").write_text('{"data": {}}')
    (golden / "survey.answered.v1.json").write_text('{"data": {"score": "ten"}}')
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    monkeypatch.setattr("infra.postgres.migrate.FOLDER", migrations)
    monkeypatch.setattr("infra.cli.verify.ROOT", tmp_path)
    done = kehu("verify", "--json")
    assert done.code == 1
    problems = {row["check"]: "\n".join(row["problems"]) for row in done.rows}
    assert "0003_pre_gap.sql should have the number 0002" in problems["migrations are named and numbered"]
    assert "0004_later.sql: name it" in problems["migrations are named and numbered"]
    assert "asyncapi.json differs from the models" in problems["the generated contracts are up to date"]
    examples = problems["an example of every version is still read"]
    assert "survey.lost.v1.json is of no registered event" in examples
    assert "survey.answered.v1 is no longer read" in examples
    assert "complaint.opened.v1 has no example" in examples


# --- the contract, and errors ---


def test_the_catalogue_names_topic_and_consumers(history: History) -> None:
    rows = {row["name"]: row for row in history("events", "catalog", "--json").rows}
    opened = rows["complaint.opened"]
    assert (opened["version"], opened["topic"], opened["published"]) == (1, "kehu.complaints", True)
    assert opened["consumers"] == ["retention_risk", "service_queues", "customer_timeline"]
    assert rows["complaint.clock-set"]["published"] is False
    assert {row["topic"] for row in rows.values()} == set(TOPICS.values())
    some = history("events", "catalog", "--topic", "kehu.surveys", "--published", "--json").rows
    assert {row["name"] for row in some} == {"survey.invited", "survey.answered", "survey.declined", "survey.bounced"}


def test_valid_events_are_counted_without_a_broker(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    golden = (ROOT / "tests" / "data" / "events" / "survey.invited.v1.json").read_text()
    file.write_text("\n".join([json.dumps(json.loads(golden))] * 3))
    assert kehu("publish", str(file), "--dry-run").out == "3 events are valid\n"


def test_wrong_lines_are_named_and_nothing_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('\n{"type": "kehu.survey.invited.v1"}\n[]\n{')
    done = kehu("publish", str(file), "--kafka", "127.0.0.1:1")
    assert (done.code, done.out) == (1, "")
    assert "nothing was sent" in done.err
    assert "line 2: bad-envelope: the attribute 'subject' is missing" in done.err
    assert "line 3: bad-json" in done.err
    assert "line 4: bad-json" in done.err


def test_an_event_that_said_nothing_new_is_traced_by_its_source(copied: History) -> None:
    assert copied("setup").code == 0
    again = ComplaintOpened(complaint_id="told-2", channel="app", queue="told", severity=1)
    meta = Meta("told-once-more", "/told", CustomerId("c-told"), copied.now - timedelta(days=100))
    key, value, headers = codec.structured(Fact(again, meta))
    asyncio.run(publish(copied.kafka, [("kehu.complaints", key, value, headers)]))
    store(copied.postgres, copied.kafka)
    (traced,) = copied("trace", "told-once-more", "--source", "/told", "--json").rows
    assert (traced["outcomes"], traced["stream"], traced["events"]) == (["duplicate"], "complaint-told-2", [])
    assert "nothing new" in copied("trace", "told-once-more", "--source", "/told").out


def _commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: Any, path: tuple[str, ...]) -> None:
        for name, one in getattr(command, "commands", {}).items():
            walk(one, (*path, name))
        if not hasattr(command, "commands"):
            found.append(path)

    walk(get_command(app), ())
    return found


@pytest.mark.parametrize("command", _commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: tuple[str, ...]) -> None:
    done = kehu(*command, "--help")
    assert done.code == 0
    assert f"Example: kehu {' '.join(command)}" in done.out


NOWHERE = ("--postgres", "host=/nowhere dbname=x")


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (("show", "satisfaction", "--where", "colour=red"), 2, "write DIMENSION=VALUE with one of metric"),
        (("show", "satisfaction", "--where", "branch=a", "--where", "branch=b"), 2, "branch is given twice"),
        (("show", "satisfaction", "--where", "day=monday"), 2, "a day is written like day=2026-03-02"),
        (("show", "satisfaction", "--by", "colour"), 2, "use day, channel"),
        (("show", "satisfaction", "--days", "8"), 2, "use 7, 30 or 90"),
        (("show", "satisfaction", "--until", "2026-03-02"), 2, "give --days"),
        (("show", "queues", "--kind", "letter"), 2, "use contact or case"),
        (("show", "retention-risk", "--band", "red"), 2, "use high, medium"),
        (("show", "customer", "nobody"), 1, "Nothing is stored about this customer"),
        (("show", "retention-risk", "--customer", "nobody"), 1, "Nothing is stored about this customer"),
        (("show", "queues", "--json", "--csv"), 2, "choose one"),
        (("dead-letters", "show", "999999"), 1, "`kehu dead-letters list` shows them"),
        (("dead-letters", "replay"), 2, "say which"),
        (("dead-letters", "replay", "1", "--all"), 2, "say which"),
        (("dead-letters", "replay", "999999"), 1, "no dead letter with this id"),
        (("parked", "show", "999999"), 1, "`kehu parked list` shows what waits"),
        (("parked", "show", "one"), 2, "valid integer"),
        (("rebuild", "weather"), 1, "use satisfaction"),
        (("publish", "/no/such/file"), 2, "No such file"),
        (("show", "reconciliation", "--topic", "kehu.weather"), 2, "use kehu.customers"),
        (("show", "weather"), 2, "No such command 'weather'"),
        (("show", "queues", *NOWHERE), 3, "Check --postgres"),
        (("rebuild", "all", *NOWHERE), 3, "Check"),
        (("show", "queues", "--postgres", "nonsense"), 2, "write it like"),
        (("show", "reconciliation", "--kafka", "nonsense"), 2, "write it like host:9092"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_an_error_is_one_line_with_its_remedy(history: History, asked: tuple[str, ...], code: int, told: str) -> None:
    done = history(*asked)
    assert done.code == code
    (line,) = [line for line in done.err.splitlines() if line.startswith("kehu: ")]
    assert told in line
    assert "Traceback" not in done.err


def test_a_server_that_nobody_named_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEHU_POSTGRES", raising=False)
    monkeypatch.delenv("KEHU_KAFKA", raising=False)
    done = kehu("show", "queues")
    assert (done.code, "KEHU_POSTGRES" in done.err) == (2, True)
    done = kehu("setup", "--postgres", "dbname=x")
    assert (done.code, "KEHU_KAFKA" in done.err) == (2, True)


def test_a_broker_that_is_away_is_told_within_seconds(history: History) -> None:
    started = bootstrap.now()
    done = history("show", "reconciliation", "--kafka", f"127.0.0.1:{_free_port()}")
    assert (done.code, "A server does not answer" in done.err) == (3, True)
    assert bootstrap.now() - started < timedelta(seconds=8)


def test_an_error_that_nobody_foresaw_is_one_line(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.cli.queues.summarise_queues", lambda *_given: 1 / 0)
    done = history("show", "queues")
    assert done.code == 70
    assert done.err.startswith("kehu: ZeroDivisionError")
    assert "KEHU_TRACEBACK=1" in done.err


def test_a_reader_that_has_enough_is_no_error(history: History) -> None:
    env = {**os.environ, "KEHU_POSTGRES": history.postgres}
    command = (
        f"{sys.executable} -m infra.cli show retention-risk --json --limit 100000 | head -c 1; exit ${{PIPESTATUS[1]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[", "")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
