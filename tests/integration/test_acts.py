"""What people do to the system is in the log, with the thing itself or not at all, and under the same proof."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from domain.administration import AREAS, ModelPromoted, ParkedReleased, ProjectionPaused
from infra import auditing, signing, telling
from infra.auditing_inbox import inbox_findings
from infra.auditing_reads import reads_findings
from infra.postgres import access_log, acts
from infra.postgres.access_log import Access
from infra.postgres.audited import Wanted, stream_events
from infra.postgres.builds import Builds
from infra.postgres.log import PostgresLog
from infra.postgres.seals import Seals
from infra.settings import Settings
from projections.satisfaction import SATISFACTION
from tests.support.builders import NOON
from tests.support.cli import kehu


def read(customer: str = "c1", subject: str = "agent-1") -> Access:
    return Access(NOON, subject, None, "GET", f"/v1/customers/{customer}", "", "a call", customer, 200, 7, 1)


def test_acts_have_gapless_positions_and_versions_however_many_act_at_once(database: str) -> None:
    def act(number: int) -> int:
        with psycopg.connect(database) as conn:
            return acts.record(conn, ParkedReleased(by=f"person {number}", messages=(number,)), NOON)

    with ThreadPoolExecutor(4) as pool:
        positions = sorted(pool.map(act, range(20)))
    assert positions == list(range(1, 21))
    with psycopg.connect(database) as conn:
        told = list(stream_events(conn, ["administration-messages"], Wanted()))
    assert [one["version"] for one in told] == list(range(1, 21))
    assert {one["actor"] for one in told} == {f"person {number}" for number in range(20)}


def test_what_was_not_done_is_not_told(database: str) -> None:
    with psycopg.connect(database) as conn:
        acts.record(conn, ModelPromoted(by="somebody", model="a.1", former="b.1"), NOON)
        conn.rollback()
        assert acts.record(conn, ModelPromoted(by="somebody", model="a.1", former="b.1"), NOON) == 1


GOOD = (
    '{"meta":{"id":"a","source":"/kehu/administration","customer":"kehu:bank","at":"2026-03-02T12:00:00Z"},'
    '"data":{"by":"somebody"}}'
)


@pytest.mark.parametrize(
    ("stream", "topic", "state"),
    [
        ("complaint-p-1", "administration.x.v1", GOOD),
        ("administration-models", "complaint.opened.v1", GOOD),
        ("administration-models", "administration.x.v1", GOOD.replace("by", "who")),
        ("administration-models", "administration.x.v1", GOOD.replace("/kehu/administration", "/channel")),
        ("administration-models", "administration.x.v1", GOOD.replace("kehu:bank", "c1")),
        ("administration-models", "administration.x.v1", GOOD.replace("2026-03-02T", "someday")),
        ("administration-models", "administration.x.v1", "{"),
        ("administration-models", "administration.x.v1", ""),
        ("administration-reads", "administration.reads-recorded.v1", GOOD),
    ],
)
def test_nothing_but_acts_is_written_by_who_may_only_tell_acts(
    database: str, stream: str, topic: str, state: str
) -> None:
    with psycopg.connect(database) as conn, pytest.raises(psycopg.Error, match=r"only acts|reads are|invalid input"):
        conn.execute("SELECT kehu.record_act(%s, %s, %s::text::bytea)", (stream, topic, state))


def test_a_read_model_that_rests_is_told_and_listed(database: str) -> None:
    with closing(Builds(database)) as builds:
        builds.set_up(SATISFACTION)
    paused = ["projections", "pause", "satisfaction", "--by", "ops-1", "--reason", "an audit", "--postgres", database]
    assert kehu(*paused).code == 0
    assert kehu("projections", "resume", "satisfaction", "--by", "ops-2", "--postgres", database).code == 0

    def listed(*options: str) -> Sequence[dict[str, object]]:
        rows: Sequence[dict[str, object]] = kehu("audit", "acts", *options, "--postgres", database, "--json").rows
        return rows

    who, what = ("area", "by", "user", "reason"), {"projection": "satisfaction"}
    assert [(*(one[name] for name in who), one["what"]) for one in listed()] == [
        ("projections", "ops-1", "postgres", "an audit", {**what, "paused": True}),
        ("projections", "ops-2", "postgres", None, {**what, "paused": False}),
    ]
    assert [one["position"] for one in listed("--by", "ops-2")] == [2]
    assert listed("--area", "messages") == []
    assert len(listed("--area", "projections", "--type", "projection-paused", "--limit", "1")) == 1
    assert "an audit" in kehu("audit", "acts", "--postgres", database).out
    header = kehu("audit", "acts", "--area", "messages", "--csv", "--postgres", database).out
    assert header == "position,at,recorded_at,area,act,by,user,reason,what\n"
    unknown = kehu("audit", "acts", "--type", "foo", "--postgres", database)
    assert (unknown.code, "projection-paused" in unknown.err) == (2, True)
    assert len(listed("--type", "administration.projection-paused.v1")) == 2
    wrong = kehu("audit", "acts", "--area", "nowhere", "--postgres", database)
    assert (wrong.code, all(area in wrong.err for area in AREAS)) == (2, True)


def test_reads_of_personal_data_are_sealed_and_whoever_changes_them_is_found(database: str, tmp_path: Path) -> None:
    key = signing.make(tmp_path / "seal.pem")
    with closing(Seals(database)) as seals, psycopg.connect(database, autocommit=True) as conn:
        access_log.record(conn, [read("c1"), read("c2")])
        assert seals.cover_reads(NOON) == 2
        assert seals.cover_reads(NOON) == 0
        access_log.record(conn, [read("c3")])
        assert seals.cover_reads(NOON) == 1
        sealed = seals.seal(key.sign, NOON)
        assert sealed is not None
        assert sealed.size == 2

        def found() -> list[tuple[str, int]]:
            return [(one.kind, one.at) for one in reads_findings(conn)]

        conn.autocommit = False
        assert found() == []
        conn.rollback()
        for tampering, at in (
            ("UPDATE kehu.access_log SET subject = 'nobody' WHERE customer_id = 'c2'", 1),
            ("UPDATE kehu.access_log SET at = at - interval '1 day' WHERE customer_id = 'c3'", 2),
            ("DELETE FROM kehu.access_log WHERE customer_id = 'c3'", 2),
            ("UPDATE kehu.access_log SET purpose = NULL WHERE customer_id = 'c1'", 1),
        ):
            conn.execute(tampering.encode())
            assert found() == [("reads-changed", at)]
            conn.rollback()
        conn.execute("SET LOCAL timezone = 'Asia/Shanghai'")
        assert found() == []
        conn.execute("UPDATE kehu.stored_events SET topic = 'administration.else.v1' WHERE notification_id = 2")
        assert found() == [("reads-changed", 2)]


def test_a_read_that_takes_long_to_be_recorded_is_covered_the_next_time(database: str) -> None:
    with psycopg.connect(database) as slow, psycopg.connect(database, autocommit=True) as covering:
        access_log.record(slow, [read("c1")])
        assert access_log.cover(covering, NOON) == 0
        slow.commit()
        assert access_log.cover(covering, NOON) == 1


def test_many_reads_are_covered_by_several_acts(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "AT_ONCE", 2)
    with psycopg.connect(database, autocommit=True) as conn:
        access_log.record(conn, [read(f"c{number}") for number in range(5)])
        assert access_log.cover(conn, NOON) == 5
    with closing(PostgresLog(database)) as log:
        assert log.head() == 3


def test_a_read_that_is_being_recorded_is_waited_for(database: str) -> None:
    with (
        psycopg.connect(database) as slow,
        psycopg.connect(database, autocommit=True) as fast,
        psycopg.connect(database, autocommit=True) as covering,
        ThreadPoolExecutor(1) as pool,
    ):
        access_log.record(slow, [read("c1")])
        access_log.record(fast, [read("c2")])
        covered = pool.submit(access_log.cover, covering, NOON)
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while fast.execute(waits).fetchone() == (0,):
            assert not covered.done()
        slow.commit()
        assert covered.result() == 2


def test_acts_need_no_entry_in_the_inbox_and_events_do(database: str) -> None:
    with psycopg.connect(database) as conn:
        acts.record(conn, ProjectionPaused(by="somebody", projection="satisfaction", paused=True), NOON)
    with auditing.snapshot(database, 1) as (conn,):
        assert list(inbox_findings(conn)) == []


def test_settings_are_told_when_they_change_and_without_passwords(database: str, tmp_path: Path) -> None:
    one = Settings(postgres="host=db password=hidden user=kehu", kafka="broker:9092")
    other = Settings(postgres="host=db password=other user=kehu", kafka="broker:9092", park_for=timedelta(hours=1))
    assert not telling.tell_settings(database, "worker", one, NOON), "nobody seals this log"
    with closing(Seals(database)) as seals, psycopg.connect(database) as conn:
        acts.record(conn, ParkedReleased(by="somebody", messages=(1,)), NOON)
        conn.commit()
        seals.seal(signing.make(tmp_path / "seal.pem").sign, NOON)
    told = [
        telling.tell_settings(database, process, settings, NOON)
        for process, settings in (("worker", one), ("worker", one), ("serve", one), ("worker", other), ("worker", one))
    ]
    assert told == [True, False, True, True, True]
    with closing(PostgresLog(database)) as log, psycopg.connect(database) as conn:
        assert log.head() == 5
        said = [event["data"]["settings"] for event in stream_events(conn, ["administration-settings"], Wanted())]
    assert [one["park_for"] for one in said] == ["P1D", "P1D", "PT1H", "P1D"]
    assert {one["postgres"] for one in said} == {"host=db user=kehu"}


def test_a_store_that_is_away_does_not_keep_a_process_from_starting() -> None:
    settings = Settings(postgres="host=127.0.0.1 port=1", kafka="broker:9092")
    assert not telling.tell_settings(settings.postgres, "worker", settings, NOON)
