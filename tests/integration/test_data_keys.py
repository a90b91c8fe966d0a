"""Data keys: made once, whoever needs them first; remembered while they are; forgotten by all when one is destroyed."""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event as Signal
from typing import Any

import psycopg
import pytest

from domain import handling
from domain.complaint import ComplaintOpened
from domain.customer import CustomerProfileChanged, CustomerRegistered
from domain.ports import Batch, Parked, Snapshot
from domain.values import Position, Recorded
from infra import master_keys
from infra.boxes import box, opened
from infra.master_keys import (
    KeyFileMissing,
    LocalMasterKeys,
    MasterKeyMissing,
    MasterKeys,
    NoMasterKey,
    WrongMasterKey,
)
from infra.postgres import data_keys, key_rotation
from infra.postgres.data_keys import DataKeys
from infra.postgres.log import PostgresLog
from tests.support.builders import NOON, message, meta
from tests.support.cli import kehu

MASTER = LocalMasterKeys([b"m" * 32])
Connection = psycopg.Connection[Any]


@pytest.fixture
def conn(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def keys() -> DataKeys:
    return DataKeys(lambda: MASTER)


def same(one: data_keys.Keys, other: data_keys.Keys, customer: str = "c1") -> bool:
    """Whether what one of them encrypts the other one opens."""
    first, second = one[customer], other[customer]
    assert first is not None
    assert second is not None
    return opened(second, box(first, b"said", b"place"), b"place") == b"said"


class Looks(DataKeys):
    """Data keys that remember for whom they were asked."""

    def __init__(self, master: Callable[[], MasterKeys]) -> None:
        super().__init__(master)
        self.asked: list[set[str]] = []

    def known(self, conn: Connection, customers: Collection[str]) -> data_keys.Keys:
        if customers:
            self.asked.append(set(customers))
        return super().known(conn, customers)


def registered(number: int) -> Recorded:
    name = f"c{number}"
    event = CustomerRegistered(name=f"Zaphod {number}")
    return Recorded(f"customer-{name}", 1, event, meta(customer=name), "customer.registered")


def destroy(conn: Connection, customer: str = "c1") -> None:
    with conn.transaction():
        conn.execute(
            "UPDATE kehu.data_keys SET wrapped = NULL, master = NULL, erased_at = now() WHERE customer_id = %s",
            (customer,),
        )
        conn.execute("UPDATE kehu.key_epoch SET n = n + 1")


def test_a_key_is_made_once_and_found_by_everybody(conn: Connection) -> None:
    mine, others = keys(), keys()
    assert mine.known(conn, ["c1"]) == {}
    made = mine.made(conn, ["c1", "c2"])
    assert same(made, others.known(conn, ["c1", "c3"]))
    assert same(made, others.made(conn, ["c2", "c1"]), "c2")


def test_two_workers_that_need_a_key_at_once_get_the_same(database: str) -> None:
    begun, waiting = Signal(), Signal()

    def second() -> data_keys.Keys:
        with psycopg.connect(database) as conn:
            begun.wait(10)
            waiting.set()
            return keys().made(conn, ["c0", "c1", "c2"])

    with ThreadPoolExecutor(1) as pool, psycopg.connect(database) as conn:
        other = pool.submit(second)
        first = keys().made(conn, ["c1"])
        begun.set()
        waiting.wait(10)
        conn.commit()
        assert same(first, other.result(10))


def test_a_key_of_a_transaction_that_failed_is_not_used_again(database: str) -> None:
    """Given a batch that is not stored, when the customer comes again, then by a key that is stored."""
    named = [Recorded("customer-c1", 1, CustomerRegistered(name="Zaphod"), meta(), "customer.registered")]
    gap = Batch(events=[*named, named[0]])
    with closing(PostgresLog(database, keys())) as log, closing(PostgresLog(database, keys())) as other:
        with pytest.raises(Exception, match="decided on an older state"):
            log.append(gap)
        log.append(Batch(events=named))
        assert [one.event for one in other.read(Position(0), 10)] == [named[0].event]


def test_a_destroyed_key_is_noticed_by_who_remembers_it(conn: Connection) -> None:
    mine = keys()
    mine.remember(mine.made(conn, ["c1", "c2"]))
    destroy(conn)
    assert mine.known(conn, ["c1"]) == {"c1": None}
    assert mine.made(conn, ["c1", "c2"])["c1"] is None


def test_what_a_worker_writes_of_somebody_forgotten_holds_nothing(database: str, conn: Connection) -> None:
    """Given a worker that knows the key, when it is destroyed, then later events say what they had and no more."""
    opened = [ComplaintOpened(complaint_id=f"p{n}", channel="app", description="I am Zaphod") for n in (1, 2)]
    with closing(PostgresLog(database, keys())) as log:
        for number, event in enumerate(opened, 1):
            log.append(Batch(events=[Recorded(f"complaint-p{number}", 1, event, meta(), "complaint.opened")]))
            if number == 1:
                destroy(conn)
        assert [one.event.description for one in log.read(Position(0), 10)] == ["[erased]", "[erased]"]  # type: ignore[attr-defined]
    row = conn.execute("SELECT data, hidden FROM kehu.event_log WHERE position = 2").fetchone()
    assert row == ({"complaint_id": "p2", "channel": "app"}, ["description"])


def test_a_stream_is_loaded_with_one_look_for_keys(database: str) -> None:
    """Given a snapshot, an event and a waiting message, each hidden, when all are loaded, then keys are asked once."""
    snapshot = Snapshot("customer-c1", 1, handling.snapshot_kinds()["customer"], b"{}")
    changed = Recorded("customer-c1", 2, CustomerProfileChanged(name="Ford"), meta(), "customer.profile-changed")
    waits = Parked("customer-c3", message(0, b"of c1"), "too-early", "waits", NOON, NOON + timedelta(days=1), None)
    with closing(PostgresLog(database, keys())) as log:
        log.append(Batch(events=[registered(1), changed, registered(2)], snapshots=[snapshot], park=[waits]))
    looks = Looks(lambda: MASTER)
    with closing(PostgresLog(database, looks)) as log:
        loaded = log.load(["customer-c1", "customer-c3"])
        assert looks.asked == [{"c1"}]
        assert loaded["customer-c1"].snapshot == snapshot
        assert [one.event for one in loaded["customer-c1"].events] == [changed.event]
        assert [one.message for one in loaded["customer-c3"].parked] == [waits.message]
        # So it is where no event has anything hidden.
        assert [one.message for one in log.load(["customer-c3"])["customer-c3"].parked] == [waits.message]
        assert looks.asked == [{"c1"}, {"c1"}]


def test_no_more_keys_are_remembered_than_asked_for(conn: Connection) -> None:
    few = DataKeys(lambda: MASTER, most=2)
    few.remember(few.made(conn, ["c1", "c2", "c3"]))
    assert len(few._remembered) == 2
    assert set(few.known(conn, ["c1", "c2", "c3"])) == {"c1", "c2", "c3"}


def test_a_rotation_wraps_keys_anew_and_leaves_events_alone(
    database: str, conn: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given three customers, when the master key is rotated and the former one is gone, then all is read as before."""
    file = tmp_path / "master.key"
    assert kehu("keys", "make", str(file)).code == 0
    assert (file.stat().st_mode & 0o777, kehu("keys", "make", str(file)).code) == (0o600, 1)
    monkeypatch.delenv("KEHU_MASTER_KEY")
    monkeypatch.setenv("KEHU_MASTER_KEY_FILE", str(file))
    monkeypatch.setattr(key_rotation, "AT_ONCE", 2)
    events = [registered(n) for n in range(3)]
    with closing(PostgresLog(database)) as log:
        log.append(Batch(events=events))
        stored = conn.execute("SELECT array_agg(state ORDER BY notification_id) FROM kehu.stored_events").fetchone()
        destroy(conn, "c2")
        done = kehu("keys", "rotate", "--new", "--by", "ops-1", "--reason", "yearly", "--postgres", database)
        assert done.out.startswith("2 data keys are wrapped"), done.err
        states = {row["state"]: row["keys"] for row in kehu("keys", "status", "--postgres", database, "--json").rows}
        assert states == {"current": 2, "destroyed": 1}
        current = master_keys.id_of(master_keys.read_file(file)[-1])
        told = kehu("audit", "acts", "--area", "privacy", "--postgres", database, "--json").rows
        assert [(one["act"], one["what"]) for one in told] == [
            ("master-key-added.v1", {"master": current}),
            ("keys-rotated.v1", {"master": current, "wrapped": 2}),
        ]
        assert {(one["by"], one["user"], one["reason"]) for one in told} == {("ops-1", "postgres", "yearly")}
        file.write_text(file.read_text().splitlines()[-1])
        # The worker that runs has the former master key, and reads the file again when it meets the new one.
        log.append(Batch(events=[registered(9)]))
    with closing(PostgresLog(database)) as log:
        names = [getattr(one.event, "name", None) for one in log.read(Position(0), 3)]
    assert names == ["Zaphod 0", "Zaphod 1", "[erased]"]
    assert (
        stored
        == conn.execute(
            "SELECT array_agg(state ORDER BY notification_id) FROM kehu.stored_events WHERE notification_id <= 3"
        ).fetchone()
    )


def test_without_the_master_key_of_a_data_key_a_worker_fails_and_a_reader_sees_less(conn: Connection) -> None:
    keys().made(conn, ["c1"])
    with pytest.raises(MasterKeyMissing):
        DataKeys(lambda: LocalMasterKeys([b"o" * 32])).known(conn, ["c1"])
    assert data_keys.ReaderKeys(lambda: LocalMasterKeys([b"o" * 32])).known(conn, ["c1"]) == {}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"KEHU_MASTER_KEY": "short"}, WrongMasterKey),
        ({"KEHU_MASTER_KEY": "c2hvcnQ="}, WrongMasterKey),
        ({"KEHU_MASTER_KEY_FILE": "/nowhere"}, KeyFileMissing),
        ({"KEHU_MASTER_KEYS": "nowhere:keys"}, WrongMasterKey),
        ({}, NoMasterKey),
    ],
)
def test_a_store_elsewhere_needs_a_master_key(
    said: dict[str, str], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEHU_MASTER_KEY")
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error):
        master_keys.configured("host=db.bank.example dbname=kehu")


def test_beside_a_store_on_this_machine_a_key_for_development_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEHU_MASTER_KEY")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = master_keys.configured("host=/tmp dbname=kehu")
    assert "NO MASTER KEY IS CONFIGURED" in capsys.readouterr().err
    again = master_keys.configured("postgresql://127.0.0.1/kehu")
    assert again.unwrap(first.current, "c1", first.wrap("c1", b"d" * 32)) == b"d" * 32
    assert capsys.readouterr().err == ""


def test_the_bank_may_bring_an_adapter_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEHU_MASTER_KEYS", "tests.integration.test_data_keys:service")
    assert master_keys.configured("host=db.bank.example") is MASTER


def service() -> LocalMasterKeys:
    """An adapter for a key management service, as a bank would write it."""
    return MASTER
