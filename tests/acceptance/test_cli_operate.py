"""What operators do from the command line: look for what is wrong."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.cli import verify
from infra.kafka.topics import Topics
from tests.support.cli import History, free_port, kehu


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
        conn.execute(
            "UPDATE kehu.deadlines SET service_preset = 'own_x', service_version = 1000 WHERE case_id = 'told-2'"
        )
    done = copied("doctor", "--json")
    assert done.code == 1
    rows = {(row["check"], row["verdict"]): row for row in done.rows}
    assert "kehu.surveys" in rows["topics", "wrong"]["detail"]
    assert "kehu.contacts" in rows["topic ids", "warning"]["detail"]
    assert rows["read models", "wrong"]["detail"] == "missing: kehu.queue_flow"
    assert rows["presets", "wrong"]["detail"] == "open cases have presets that are not known here: own_x 1000"
    stopped = rows["projection satisfaction", "wrong"]
    assert "at position 7" in stopped["detail"]
    assert "kehu projections retry satisfaction" in stopped["remedy"]
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
    away = f"127.0.0.1:{free_port()}"
    done = kehu("doctor", "--postgres", "host=/nowhere dbname=x", "--kafka", away, "--json")
    assert done.code == 1
    assert verdicts(done.rows) == {"release": "ok", "Kafka": "wrong", "PostgreSQL": "wrong"}
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
    for name in ("0001_pre_start.sql", "0001_pre_twice.sql", "0004_later.sql"):
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
    assert "0001_pre_twice.sql has the number of 0001_pre_start.sql" in problems["migrations are named and numbered"]
    assert "0004_later.sql: name it" in problems["migrations are named and numbered"]
    assert "asyncapi.json differs from the models" in problems["the generated contracts are up to date"]
    examples = problems["an example of every version is still read"]
    assert "survey.lost.v1.json is of no registered event" in examples
    assert "survey.answered.v1 is no longer read" in examples
    assert "complaint.opened.v1 has no example" in examples
