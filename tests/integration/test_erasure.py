"""Whoever is forgotten is nowhere: no byte of what was personal is found in any table, file or topic; figures stay."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from consumers.dead_letter_publisher import AT_ONCE, outgoing
from consumers.deadline_watch import outgoing as reported
from consumers.ingest import Ingest
from consumers.outcome import Outcome
from consumers.projector import Projector
from consumers.view_publisher import ViewPublisher
from domain import registry
from domain.account import TransactionPosted
from domain.complaint import ComplaintClosed, ComplaintOpened, ComplaintReopened, ComplaintResolved
from domain.contact import ContactAbandoned, ContactQueued
from domain.customer import (
    CustomerClosed,
    CustomerConsentChanged,
    CustomerMerged,
    CustomerProfileChanged,
    CustomerRegistered,
)
from domain.ports import Message, Partition
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Event, Money, Position
from infra import bootstrap, kehu_verify
from infra.embedded.postgres import EmbeddedPostgres, binaries
from infra.erasing import Erasing, tried
from infra.kafka import codec
from infra.kafka.heads import HEADS
from infra.kafka.producer import Headers, publish
from infra.kafka.reading import held
from infra.kafka.topics import DEAD_LETTERS, topic_of
from infra.kafka.views import VIEW_TOPICS
from infra.master_keys import new_key
from infra.postgres import erasure, webhooks
from infra.postgres.changes import KEPT, Feed, connection
from infra.postgres.dead_letters import DeadLetterOutbox
from infra.postgres.following import step
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.running_deadlines import RunningDeadlines
from infra.webhooks.signing import new_secret
from projections.catalogue import ALL
from projections.customers import CUSTOMERS
from projections.retention_risk import RETENTION_RISK
from projections.views import VIEWS
from tests.support.builders import fact
from tests.support.cli import Done, kehu
from tests.support.letters import dead_letters
from tests.support.processes import ROOT

THEN = datetime(2015, 3, 2, 12, 0, tzinfo=UTC)
"""Long enough ago that nothing must be kept."""
DAY = timedelta(days=1)
HASH = "a1" * 16
OURS = (DEAD_LETTERS, HEADS, topic_of("complaint.deadline-missed"), *VIEW_TOPICS)
"""The topics that Kehu writes to. To the last but the views channels do, too, and nobody does here."""
_numbers = count(1)


class Bank:
    """A store with some customers, each with everything that can be personal."""

    def __init__(self, database: str, copied: "Bank | None" = None) -> None:
        self.database = database
        self.word: str = copied.word if copied else f"Zaphod{uuid4().hex}"
        """Stands in everything personal of customer `gone`, and nowhere else."""
        self.log, self.models = PostgresLog(database), PostgresReadModels(database)
        for projection in ALL if copied is None else ():
            self.models.create(projection)
        self.ingest = Ingest(self.log, bootstrap.decoder(), bootstrap.now)
        self._offsets: dict[Partition, int] = dict(copied._offsets) if copied else {}
        self._sent: int = copied._sent if copied else 0
        if copied:
            self.ingest.claim(list(self._offsets))

    def close(self) -> None:
        self.log.close()
        self.models.close()

    def take(self, data: Event, customer: str, days: int = 0) -> Outcome:
        self._sent += 1
        said = fact(data, f"e{self._sent}", customer=customer, at=THEN + days * DAY)
        return self._take(topic_of(registry.of(data).name), codec.structured(said))

    def broken(self, key: bytes | None, value: bytes) -> None:
        assert self._take("kehu.surveys", (key, value, [("x-from", self.word.encode())])) == Outcome.DEAD

    def _take(self, topic: str, encoded: tuple[bytes | None, bytes | None, Headers]) -> Outcome:
        partition = Partition(topic, f"{topic}-1", 0)
        if partition not in self._offsets:
            self._offsets[partition] = 0
            self.ingest.claim(list(self._offsets))
        key, value, headers = encoded
        message = Message(partition, self._offsets[partition], 0, key, value, tuple(headers))
        self._offsets[partition] += 1
        (outcome,) = self.ingest.take(self.ingest.read({partition: [message]}))
        return outcome

    def story(self, customer: str, word: str) -> None:
        """Everything personal says the word. The relationship has ended, and the case is closed."""
        own = f"{customer}-1"
        devices = (f"{word} phone", f"{word} watch")
        facts: list[Event] = [
            CustomerRegistered(name=word, email=f"{word}@x.example", phone=word, device_ids=devices, branch="Harbour"),
            CustomerProfileChanged(customer_number=word, customer_number_issuer="cards", device_ids=(devices[0],)),
            CustomerProfileChanged(name=f"{word} II", national_id_hash=HASH),
            ContactQueued(contact_id=own, queue="cards", channel="phone"),
            ContactAbandoned(contact_id=own, reason=f"{word} hung up"),
            ComplaintOpened(complaint_id=own, channel="app", description=f"I am {word}", issue="fee"),
            ComplaintResolved(complaint_id=own, outcome="upheld", reasons=f"Dear {word}", onward_rights=word),
            ComplaintClosed(complaint_id=own, reason=word),
            SurveyInvited(invitation_id=own, metric="nps", scale=10, channel="app"),
            SurveyAnswered(invitation_id=own, score=3, comment=f"{word} was not amused"),
            TransactionPosted(
                account_id=own,
                transaction_id="t1",
                booked_on=THEN.date(),
                amount=Money(minor=-100, currency="GBP"),
                text=f"Rent of {word}",
            ),
            CustomerClosed(reason=word),
        ]
        for days, data in enumerate(facts):
            assert self.take(data, customer, days) == Outcome.APPENDED, data

    def trouble(self, customer: str, word: str) -> None:
        """What alerts tell of: a deadline that was missed, and a customer who is likely to leave."""
        overdue, case = f"{customer}-1", f"{customer}-2"
        rejected = ComplaintResolved(complaint_id=case, outcome="rejected", reasons=word, onward_rights=word)
        reopened = ComplaintReopened(complaint_id=case, reason=word)
        facts: list[Event] = [
            ComplaintOpened(complaint_id=overdue, channel="app", description=word),
            ComplaintOpened(complaint_id=case, channel="app", description=word),
            *[rejected, reopened, rejected, reopened],
            SurveyInvited(invitation_id=overdue, metric="csat", scale=5, channel="app"),
            SurveyInvited(invitation_id=case, metric="nps", scale=10, channel="app"),
            *(SurveyAnswered(invitation_id=one, score=1, comment=word) for one in (overdue, case)),
        ]
        for days, data in enumerate(facts):
            assert self.take(data, customer, days) == Outcome.APPENDED, data
        self.fold()

    def whole(self) -> "Bank":
        """With what waits and what died, and all of it folded."""
        self.story("gone", self.word)
        self.story("stays", "Trillian")
        assert self.take(SurveyAnswered(invitation_id="lost", score=3, comment=self.word), "gone") == Outcome.PARKED
        self.broken(b"gone", f"{{not json of {self.word}".encode())
        self.broken(None, f"{{nobody knows whose, of gone and {self.word}".encode())
        self.broken(b"?", b"{nobody knows whose, and it names gone-10")
        # Of the wrong key: about another than it says.
        self.broken(b"stays", b'{"specversion":"1.0","subject":"gone","data":{"comment":"%b"}' % self.word.encode())
        self.fold()
        with psycopg.connect(self.database) as conn:
            webhooks.add(conn, "crm", "https://crm.example/", "customers", None, new_secret(), None)
            conn.execute("UPDATE kehu.webhooks SET error = %s", (f"400: {self.word} is unknown",))
            query = "INSERT INTO kehu.webhook_letters (webhook, keys, error, attempts) VALUES ('crm', %s, %s, 20)"
            for key in ("gone", "complaint-gone-1", '["gone-1", "service"]'):
                conn.execute(query, (["stays", key], f"400: {self.word} is unknown"))
            conn.execute(query, (["stays", "complaint-gone-10", '["gone-10", "service"]'], "400: who is it?"))
        return self

    def fold(self) -> None:
        projector = Projector(self.log, self.models, ALL)
        projector.run_until_caught_up()
        assert projector.stopped == {}

    def acts(self) -> list[tuple[str, dict[str, Any]]]:
        """What the register tells of erasures: each act without the name of its area, and what it says."""
        rows = kehu("audit", "acts", "--area", "privacy", "--postgres", self.database, "--json").rows
        assert {(one["by"], one["reason"]) for one in rows} <= {("desk", "request dr-1")}
        return [(one["act"], one["what"]) for one in rows]

    def erase(self, customer: str = "gone", *more: str) -> Done:
        return kehu("erase", customer, "--reason", "request dr-1", "--by", "desk", "--postgres", self.database, *more)

    def digests(self) -> dict[str, str]:
        return {projection.name: self.models.digest(projection) for projection in ALL}

    def tables(self) -> list[tuple[str, str]]:
        with psycopg.connect(self.database) as conn:
            tables = conn.execute(
                "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
        assert len(tables) > 30
        return tables

    def found(self, word: str | None = None) -> set[str]:
        """The tables in which a word stands, as text or as bytes."""
        wanted = [f"%{form.decode()}%" for form in forms(word or self.word)]
        with psycopg.connect(self.database) as conn:
            query = sql.SQL("SELECT EXISTS (SELECT FROM {} t WHERE t::text LIKE ANY(%s))")
            return {
                name
                for schema, name in self.tables()
                if conn.execute(query.format(sql.Identifier(schema, name)), (wanted,)).fetchone() == (True,)
            }

    async def publish(self, kafka: str) -> None:
        """What a worker publishes by itself: missed deadlines, dead letters, and views with their tombstones."""
        with closing(RunningDeadlines(self.database)) as running:
            missed = [reported(one) for one in running.over(bootstrap.now(), THEN, 10)]
        await publish(kafka, missed)
        for topic, key, value, headers in missed:
            assert self._take(topic, (key, value, headers)) == Outcome.APPENDED
        self.fold()
        with closing(DeadLetterOutbox(self.database)) as outbox:
            while letters := outbox.pending(AT_ONCE):
                await publish(kafka, map(outgoing, letters))
                outbox.done(letters)
        views = ViewPublisher(self.database, kafka, lambda _seconds: None)
        try:
            while (await views.once())[1]:
                pass
        finally:
            await views.on_stop()

    def sees(self, customer: str) -> list[Any]:
        """What the log says in personal fields of a customer's registrations."""
        events = self.log.read(Position(0), 1000, ["customer.registered"])
        return [getattr(one.event, "name", None) for one in events if one.meta.customer_id == customer]


async def records(kafka: str) -> dict[str, list[bytes]]:
    """Every record of the topics of ours, from the first: key, value and headers in one, by topic."""
    found: dict[str, list[bytes]] = {topic: [] for topic in OURS}
    async for some in held(kafka, *OURS):
        for one in some:
            headers = (part for name, value in one.headers for part in (name.encode(), value))
            found[one.topic].append(b"\0".join(part or b"" for part in (one.key, one.value, *headers)))
    return found


def forms(word: str) -> list[bytes]:
    """A word as it is said, as it is compared, and as a telephone number of it is; each also as bytes in hex."""
    digits = "".join(filter(str.isdigit, word))
    said = [word.encode(), word.lower().encode(), *([digits.encode()] if len(digits) > 9 else [])]
    return [*said, *(one.hex().encode() for one in said)]


def stands(word: str, where: bytes) -> bool:
    """Whether a word stands somewhere, in one of its forms."""
    return any(form in where for form in forms(word))


def naming(told: dict[str, list[bytes]], *words: str) -> set[str]:
    """The topics with a record in which one of the words stands."""
    return {topic for topic, found in told.items() if any(stands(word, one) for one in found for word in words)}


@pytest.fixture(scope="module")
def whole(postgres_server: EmbeddedPostgres) -> Bank:
    """A bank that nobody changes; its database is free to be copied."""
    url = postgres_server.create_database("whole")
    migrate(url)
    with closing(Bank(url)) as made:
        return made.whole()


@pytest.fixture
def bank(whole: Bank, postgres_server: EmbeddedPostgres) -> Iterator[Bank]:
    name = f"bank_{next(_numbers)}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE whole").format(sql.Identifier(name)))
    with closing(Bank(postgres_server.url(name), whole)) as copy:
        yield copy


def test_before_an_erasure_only_the_read_model_of_customers_holds_personal_data_in_the_clear(bank: Bank) -> None:
    # And what others answered, who know them by name.
    assert bank.found() == {"customer_personal", "webhook_letters", "webhooks"}
    assert bank.sees("gone") == [bank.word]
    shown = {letter["value"] for letter in dead_letters(bank.database)}
    assert f"{{not json of {bank.word}".encode() in shown


def test_after_an_erasure_nothing_personal_is_found_and_figures_stay(
    bank: Bank, postgres_server: EmbeddedPostgres, topics: str, tmp_path: Path
) -> None:
    bank.trouble("claims", "Trillian")
    with psycopg.connect(bank.database, autocommit=True) as conn:
        conn.execute("ANALYZE")  # as PostgreSQL does by itself, which keeps values of columns to plan by them
    key, file = tmp_path / "seal.pem", tmp_path / "certificate.json"
    assert kehu("audit", "key", "--out", str(key)).code == 0
    seal = ("audit", "seal", "--key", str(key), "--postgres", bank.database, "--kafka", topics, "--to-topic")
    assert kehu(*seal).code == 0
    asyncio.run(bank.publish(topics))
    told = asyncio.run(records(topics))
    # Records of each tell of customers, of this one or of another, and none ever said who they are.
    assert {topic for topic in OURS if told[topic]} == set(OURS)
    views = {f"kehu.views.{name}" for name in ("customers", "retention-risk", "service-queues")}
    assert naming(told, "gone") == {DEAD_LETTERS, *views}
    before = bank.digests()
    assert naming(told, bank.word, "Trillian") == set()
    done = bank.erase("gone", "--certificate", str(file))
    assert done.code == 0, done.err
    assert bank.found() == set()
    assert (bank.sees("gone"), bank.sees("stays")) == (["[erased]"], ["Trillian"])
    assert bank.found("Trillian") == {"customer_personal"}
    # Nor in the files, when PostgreSQL has cleared up. Not in its journal: that is recycled, and archived where the
    # bank archives it.
    with psycopg.connect(bank.database, autocommit=True) as conn:
        conn.execute("VACUUM FULL")
        conn.execute("CHECKPOINT")
        (oid,) = conn.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone() or (0,)
    folder = postgres_server.data_dir / "base" / str(oid)
    files = [path for path in folder.iterdir() if path.is_file()]
    assert len(files) > 100
    assert [path.name for path in files if stands(bank.word, path.read_bytes())] == []
    assert not stands(bank.word, (postgres_server.data_dir / "server.log").read_bytes())
    # Nor in a backup that is made from now on.
    dump = subprocess.run([binaries() / "pg_dump", bank.database], capture_output=True, check=True, timeout=60).stdout
    assert b"Trillian" in dump
    assert not stands(bank.word, dump)
    # Nor in a record of our topics, from their beginning on: whether a broker compacts them makes no difference.
    assert kehu(*seal).code == 0
    asyncio.run(bank.publish(topics))
    told, published = asyncio.run(records(topics)), told
    more = {topic: len(found) - len(published[topic]) for topic, found in told.items()}
    assert {topic: n for topic, n in more.items() if n} == {
        DEAD_LETTERS: 1,
        HEADS: 1,
        "kehu.views.customers": 1,
        "kehu.views.retention-risk": 1,
    }
    assert naming(told, bank.word, "Trillian") == set()
    # Of the read models only those change that show who somebody is; the others as if nothing had happened.
    bank.fold()
    after = bank.digests()
    assert {name for name in after if after[name] != before[name]} == {"customers", "retention_risk"}
    told = json.loads(file.read_bytes())
    assert (told["customer"], told["outcome"], told["head_after"]) == ("gone", "erased", None)
    assert told["purged"]["messages"] == {"parked": 1, "dead_letters": 3, "answers": 4}
    assert {letter["value"] for letter in dead_letters(bank.database)} == {
        None,
        b"{nobody knows whose, and it names gone-10",
    }
    assert told["purged"]["found"]["personal_rows"] == 7
    assert told["left"]["events_in_the_clear"] == 0
    assert kehu("show", "reconciliation", "--postgres", bank.database).code == 0


def test_the_journal_of_postgresql_holds_in_the_clear_what_the_read_model_does_until_it_is_removed(
    bank: Bank, postgres_server: EmbeddedPostgres
) -> None:
    word = f"Arthur{uuid4().hex}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as conn, removing(conn):
        taken = since(conn)
        bank.story("other", word)
        assert bank.take(SurveyAnswered(invitation_id="unasked", score=3, comment=word), "other") == Outcome.PARKED
        bank.broken(b"other", f"{{not json of {word}".encode())
        folded = since(conn)
        bank.fold()
        end = since(conn)
        assert not stands(word, journal(postgres_server, taken, folded))
        assert stands(word, journal(postgres_server, folded, end))
        assert bank.erase("other").code == 0
        conn.execute("SELECT pg_switch_wal()")
        conn.execute("CHECKPOINT")
    files = [path for path in (postgres_server.data_dir / "pg_wal").iterdir() if path.is_file()]
    assert files
    assert [path.name for path in files if stands(word, path.read_bytes())] == []


@contextmanager
def removing(conn: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[None]:
    """A server that removes files of its journal which it needs no more, and does not use them again as they are."""
    conn.execute("ALTER SYSTEM SET wal_recycle = off")
    conn.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        conn.execute("ALTER SYSTEM RESET wal_recycle")
        conn.execute("SELECT pg_reload_conf()")


def since(conn: "psycopg.Connection[tuple[Any, ...]]") -> int:
    """The byte of the journal at which what happens from now on begins; what happened before is in its files."""
    conn.execute("SELECT pg_switch_wal()")
    (at,) = conn.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone() or (0,)
    return int(at)


SEGMENT, PAGE = 16 * 1024 * 1024, 8192


def journal(server: EmbeddedPostgres, start: int, end: int) -> bytes:
    """What stands in the journal from one byte to another, without the heads of its pages, which would split words."""
    found = []
    for segment in range(start // SEGMENT, end // SEGMENT):
        file = server.data_dir / "pg_wal" / f"00000001{segment >> 8:08X}{segment & 255:08X}"
        whole = file.read_bytes()
        found += [whole[at + (24 if at else 40) : at + PAGE] for at in range(0, SEGMENT, PAGE)]
    return b"".join(found)


def test_a_certificate_is_proven_by_the_sealed_log_and_proofs_from_before_stay_valid(
    bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, public, heads, told = (tmp_path / name for name in ("seal.pem", "seal.pub.pem", "heads.jsonl", "told.jsonl"))
    asked = ("--postgres", bank.database)
    assert kehu("audit", "key", "--out", str(key)).code == 0
    assert kehu("audit", "seal", "--key", str(key), "--anchor", str(heads), *asked).code == 0
    proof = tmp_path / "proof.json"
    proof.write_text(kehu("audit", "prove", "1", *asked).out)
    assert kehu("audit", "export", str(tmp_path / "all"), *asked).code == 0
    late = CustomerRegistered(name="Ford")
    assert bank.take(late, "since") == Outcome.APPENDED
    assert bank.erase("gone", "--key", str(key), "--certificate", str(told)).code == 0
    for what, file in (("erasure", told), ("proof", proof), ("export", tmp_path / "all")):
        kehu_verify.main([what, str(file), "--key", str(public), "--heads", str(heads)])
    said = capsys.readouterr().out
    assert "customer gone: forgotten at position 33, as it was sealed" in said
    assert "the 30 events that were sealed before are unchanged" in said
    assert kehu("audit", "verify", "--heads", str(heads), "--public-key", str(public), *asked).code == 0
    # Asked for again, it is the same; and whoever has no key has the proof.
    first = json.loads(told.read_bytes())
    began, recorded, ended = first["begun_at"], first["event"]["recorded_at"], first["ended_at"]
    assert datetime.fromisoformat(began) <= datetime.fromisoformat(recorded) <= datetime.fromisoformat(ended)
    assert bank.erase("gone", "--key", str(key), "--json").rows == [first]
    (unsigned,) = bank.erase("gone", "--json").rows
    assert unsigned == {name: value for name, value in first.items() if name not in ("key_id", "signature")}


def test_over_a_log_that_was_changed_there_is_no_certificate_and_customers_are_forgotten_all_the_same(
    bank: Bank, tmp_path: Path
) -> None:
    key, told = tmp_path / "seal.pem", tmp_path / "told.jsonl"
    assert kehu("audit", "key", "--out", str(key)).code == 0
    assert bank.erase("gone", "--key", str(key), "--certificate", str(told)).code == 0
    before = told.read_bytes()
    edit = "UPDATE kehu.stored_events SET state = state || ' ' WHERE topic = 'customer.erased.v1'"
    with psycopg.connect(bank.database, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute(edit)
        done = bank.erase("gone", "--key", str(key), "--certificate", str(told))
        assert (done.code, told.read_bytes()) == (1, before)
        assert "The customer is forgotten, but" in done.err
        assert "gone: the event at position" in done.err
        conn.execute("UPDATE kehu.proof_tiles SET hashes = sha256(hashes)")  # now nothing is sealed any more
        assert bank.take(CustomerRegistered(name="Ford"), "late") == Outcome.APPENDED
        assert bank.take(CustomerClosed(reason="moved"), "late") == Outcome.APPENDED
        done = bank.erase("late", "--key", str(key), "--certificate", str(told))
        assert (done.code, told.read_bytes()) == (1, before)
        assert bank.sees("late") == ["[erased]"]
        assert conn.execute("SELECT count(*) FROM kehu.erasures WHERE ended_at IS NOT NULL").fetchone() == (2,)


FIGURES = ("satisfaction", "satisfaction_causes", "queue_flow", "queue_items", "customer_answers", "customer_timeline")


def test_a_replay_of_a_moment_before_an_erasure_shows_erased_and_all_figures_as_they_were(bank: Bank) -> None:
    def replayed(view: str, *asked: str) -> Any:
        done = kehu("audit", "replay", view, *asked, "--json", "--limit", "0", "--postgres", bank.database)
        assert done.code == 0, done.err
        return json.loads(done.out)

    then, of_one = ("--as-of-position", "30"), ("--customer", "gone")
    before = {view: replayed(view, *then) for view in FIGURES}
    said = replayed("customer_personal", *then, *of_one)["rows"]
    assert {(row["field"], stands(bank.word, row["value"].encode())) for row in said} >= {
        ("name", True),
        ("email", True),
    }
    assert bank.erase().code == 0
    # The same rows with the same digests: nothing that is counted by was erased.
    assert {view: replayed(view, *then) for view in FIGURES} == before
    # Where something personal was is that it was: the same rows of the same events, and nobody reads what they said.
    erased, again = (replayed("customer_personal", *then, *of_one) for _ in range(2))
    assert erased == again
    names = ("field", "occurred_at", "event_id", "position")
    assert [[row[name] for name in names] for row in erased["rows"]] == [[row[name] for name in names] for row in said]
    assert {row["value"] for row in erased["rows"]} == {"[erased]", '["[erased]"]'}
    assert {row["matched"] for row in erased["rows"]} == {None}
    # As of now they are gone; others are as they were.
    assert replayed("customer_personal", *of_one)["rows"] == []
    assert "Trillian" in str(replayed("customer_personal", "--customer", "stays")["rows"])
    assert not stands(bank.word, str(replayed("customer_timeline", *of_one)).encode())


def test_who_was_forgotten_is_told_as_such_and_scored_no_more(bank: Bank) -> None:
    """Given a customer with a score, when they are forgotten, then no moment has a score of them, and figures stay."""
    asked = ("--postgres", bank.database)
    of_one = (("show", "retention-risk", "--customer"), ("show", "risk-history"), ("audit", "explain", "risk"))
    whole = ("audit", "replay", "retention_risk", "--as-of-position", "30", *asked, "--json")
    past = ("--at", "2015-03-12T12:00", "--known-at", "2100-01-01")

    def whom() -> list[set[str]]:
        listed = (kehu("show", "retention-risk", *when, *asked, "--json").rows for when in ((), past))
        return [{row["customer_id"] for row in rows} for rows in listed]

    before = kehu(*whole).out
    assert [kehu(*one, "gone", *past, *asked).code for one in of_one] == [0, 0, 0]
    assert whom() == [{"gone", "stays"}] * 2
    assert bank.erase().code == 0
    # What comes later of them is counted, and scores nobody.
    position = bank.log.head() - 1
    opened = ComplaintOpened(complaint_id="later", channel="app")
    assert bank.take(opened, "gone", 30) == Outcome.APPENDED
    bank.fold()
    told = f"gone was erased on {bootstrap.now():%Y-%m-%d}, position {position}"
    for one in of_one:
        for when in ((), past):
            done = kehu(*one, "gone", *when, *asked)
            assert (done.code, told in done.err) == (1, True), done.err
            assert kehu(*one, "stays", *when, *asked).code == 0
    assert whom() == [{"stays"}] * 2
    for when in ((), past):
        shown = kehu("show", "customer", "gone", *when, *asked).out
        assert (told in shown, "not registered" in shown, "retention risk" in shown) == (True, False, False), shown
    about = json.loads(kehu("show", "customer", "gone", *asked, "--json").out)
    assert [one["customer_id"] for one in about["customer"]["erased"]] == ["gone"]
    assert (about["scores"]["retention"], kehu(*whole).out) == (None, before)


def test_a_rebuild_after_an_erasure_gives_the_same_rows(bank: Bank) -> None:
    assert bank.erase().code == 0
    bank.fold()
    for projection in (CUSTOMERS, RETENTION_RISK):
        live = bank.models.digest(projection)
        rebuilt = kehu("rebuild", projection.name, "--switch", "--postgres", bank.database)
        assert rebuilt.code == 0, rebuilt.err
        bank.models.standing([projection])
        assert bank.models.digest(projection) == live


def test_a_former_build_does_not_keep_what_the_live_one_forgot(bank: Bank) -> None:
    assert kehu("rebuild", "customers", "--switch", "--postgres", bank.database).code == 0
    assert bank.erase().code == 0
    assert bank.found() == set()


def test_an_erased_customer_leaves_the_views(bank: Bank) -> None:
    """Whoever follows the views, by topic, by webhook or over HTTP, is told that the rows are gone."""
    with closing(connection(bank.database)) as shared:
        feed = Feed(shared, places=True)
        live, before = feed.live(), {}
        for view in VIEWS:
            seen = step(feed, view, None, live[view.projection.name], 1000)
            before[view.name] = seen.page.token
            assert bank.word not in "".join(str(one.row) for one in seen.page.updates)
        assert bank.erase().code == 0
        live = feed.live()
        told = {
            view.name: step(feed, view, before[view.name], live[view.projection.name], 1000).page.updates
            for view in VIEWS
        }
    gone = {name: [(one.key, one.row) for one in updates] for name, updates in told.items() if updates}
    assert gone == {"customers": [("gone", None)], "retention-risk": [("gone", None)]}
    # Whoever may see the rows of some branches only hears of it by the place that was left. It is kept for as long as
    # somebody may ask: without it the row would stay with them.
    left = {name: [one.left for one in updates] for name, updates in told.items() if updates}
    assert left == {name: [[{"branch": "Harbour", "segment": None}]] for name in gone}
    with closing(connection(bank.database)) as shared:
        feed = Feed(shared)
        for view in VIEWS:
            stands_at = live[view.projection.name]
            feed.forget(view, replace(stands_at, at=stands_at.at + KEPT + DAY))
    assert "places" not in bank.found("Harbour")


def test_what_comes_later_of_somebody_who_was_forgotten_holds_nothing_personal(bank: Bank) -> None:
    """Given a worker that remembers the customer, when more comes of them, then nothing personal of it is kept."""
    assert bank.erase().code == 0
    assert bank.take(CustomerProfileChanged(name=bank.word), "gone") == Outcome.DEAD
    opened = ComplaintOpened(complaint_id="later", channel="app", description=bank.word)
    assert bank.take(opened, "gone", 30) == Outcome.APPENDED
    assert bank.take(SurveyAnswered(invitation_id="lost", score=3, comment=bank.word), "gone") == Outcome.PARKED
    bank.fold()
    assert bank.found() == set()
    letters = [letter for letter in dead_letters(bank.database) if letter["rule"] == "customer-is-erased"]
    # The one that waited when they were forgotten, and the one that came later.
    assert [(letter["value"], letter["unreadable"]) for letter in letters] == [(None, "erased")] * 2
    assert bank.ingest._streams._known.keys() <= {"complaint-later", "survey-lost"}


def test_all_ids_of_a_person_are_forgotten_together_and_each_has_its_own_key(database: str) -> None:
    with closing(Bank(database)) as bank:
        words = {customer: f"Ford{uuid4().hex}" for customer in ("a", "b", "c")}
        for customer, word in words.items():
            bank.story(customer, word)
        # With ids of the survivor: they are compared, and not kept under the key of the other.
        merged = CustomerMerged(into="b", reason=f"both {bank.word}", by="desk", tax_id_hash="b2" * 16)
        assert bank.take(merged, "a", 50) == Outcome.APPENDED
        bank.fold()
        assert bank.erase("a", "--dry-run", "--json").rows[0]["customers"][0]["customer"] == "b"
        assert bank.sees("b") == [words["b"]]
        done = bank.erase("a", "--json")
        assert sorted(one["customer"] for one in done.rows) == ["a", "b"]
        assert [bank.sees(one) for one in ("a", "b", "c")] == [["[erased]"], ["[erased]"], [words["c"]]]
        assert bank.found(words["a"]) | bank.found(words["b"]) | bank.found("both") == set()
        assert bank.found(words["c"]) == {"customer_personal"}


STEPS = ("erasing", "forgetting", "forgotten", "emptying", "emptied", "purging", "purged", "sealing", "sealed")
KILLED = """import os, sys
from infra import failpoints
from infra.cli.main import main
database, key, *steps = sys.argv[1:]
for step in steps:
    if not (child := os.fork()):
        failpoints._failpoints.__init__(f"{step}@1=kill")
        main(["erase", step, "--reason", "request dr-1", "--by", "desk", "--key", key, "--postgres", database])
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Erases a customer for each step, in a process of its own that is killed there."""


def test_an_erasure_that_was_killed_at_any_step_is_finished(database: str, tmp_path: Path) -> None:
    """Given erasures that were killed at every step, when they are run again, then all came to the same end."""
    key, public, told = tmp_path / "seal.pem", tmp_path / "seal.pub.pem", tmp_path / "told.jsonl"
    assert kehu("audit", "key", "--out", str(key)).code == 0
    with closing(Bank(database)) as bank:
        for step in (*STEPS, "whole"):
            for data in (CustomerRegistered(name=bank.word, device_ids=(bank.word,)), CustomerClosed(reason=bank.word)):
                assert bank.take(data, step) == Outcome.APPENDED
            lost = SurveyAnswered(invitation_id=f"lost-{step}", score=3, comment=bank.word)
            assert bank.take(lost, step) == Outcome.PARKED
        bank.fold()
        command = [sys.executable, "-c", KILLED, database, str(key), *STEPS]
        killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        assert killed.stdout.split() == [str(-signal.SIGKILL)] * len(STEPS), killed.stderr
        ends = {}
        for step in (*STEPS, "whole"):
            done = bank.erase(step, "--key", str(key), "--certificate", str(told), "--json")
            (said,) = done.rows
            ends[step] = (said["outcome"], said["purged"])
            kehu_verify.main(["erasure", str(told), "--key", str(public)])
        assert ends == dict.fromkeys(ends, ends["whole"])
        assert bank.found() == set()
        with psycopg.connect(database) as conn:
            said = conn.execute(
                "SELECT count(*), count(DISTINCT stream) FROM kehu.event_log WHERE type = 'customer.erased.v1'"
            ).fetchone()
        assert said == (len(ends), len(ends))
        assert sorted(told["customer"] for _, told in bank.acts()) == sorted(ends)


def test_an_erasure_that_was_begun_is_ended_and_told_whatever_came_since(bank: Bank, tmp_path: Path) -> None:
    """Given an erasure that was interrupted, when a case is opened then, it is ended all the same, also by --due."""
    told = tmp_path / "told.jsonl"
    told.write_text("yesterday")
    with closing(Erasing(bank.database, bootstrap.now)) as erasing:
        begun = erasure.begin(erasing.conn, "gone", "request dr-1", "desk", {})
        erasure.forget(erasing.conn, begun, bootstrap.now())
    late = ComplaintOpened(complaint_id="late", channel="app", regime="uk_disp_standard")
    assert bank.take(late, "gone", 30) == Outcome.APPENDED
    bank.fold()
    # The first is due because it was interrupted; the others ask again for what is done.
    for asked in (("--due",), ("gone", "--reason", "again"), ("gone", "--reason", "again")):
        done = kehu("erase", *asked, "--certificate", str(told), "--postgres", bank.database)
        assert done.code == 0, done.err
    before, first, *more = told.read_text().splitlines()
    assert (before, more) == ("yesterday", [first, first])
    assert (json.loads(first)["customer"], json.loads(first)["reason"]) == ("gone", "request dr-1")
    assert bank.found() == set()
    refused = bank.erase("stays", "--certificate", str(tmp_path))
    assert (refused.code, "cannot be written" in refused.err, bank.sees("stays")) == (2, True, ["Trillian"])


def test_while_an_erasure_is_interrupted_a_worker_goes_on(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a customer with a snapshot, when only the key is destroyed, then what comes about them is refused."""
    monkeypatch.setattr("consumers.deciding.SNAPSHOT_EVERY", 1)
    with closing(Bank(database)) as bank:
        for data in (CustomerRegistered(name=bank.word), CustomerClosed(reason=bank.word)):
            assert bank.take(data, "gone") == Outcome.APPENDED
        with psycopg.connect(database) as conn:
            assert conn.execute("SELECT count(*) FROM kehu.snapshots").fetchone() == (1,)
        with closing(Erasing(database, bootstrap.now)) as erasing:
            begun = erasure.begin(erasing.conn, "gone", "request dr-1", "desk", {})
            erasure.forget(erasing.conn, begun, bootstrap.now())
        with closing(Bank(database, bank)) as restarted:
            assert restarted.take(CustomerRegistered(name="again"), "gone") == Outcome.DEAD
        bank.fold()
        done = bank.erase()
        assert done.code == 0, done.err
        assert bank.found() == set()
        (row,) = bank.erase("gone", "--json").rows
        assert row["purged"]["states"] == {"snapshots": 1}


def looked_at(database: str) -> list[tuple[str, str]]:
    """What the doctor says of erasures; each that is not well has the command that mends it."""
    told = [
        one
        for one in kehu("doctor", "--postgres", database, "--kafka", "", "--json").rows
        if one["check"] == "erasures"
    ]
    assert all((one["verdict"] == "ok") != ("`kehu erase --due`" in one["remedy"]) for one in told)
    return [(one["verdict"], one["detail"]) for one in told]


def test_the_doctor_names_an_interrupted_erasure_also_without_the_master_key(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looked_at(database) == [("ok", "none was interrupted, and nobody is due")]
    with psycopg.connect(database) as conn:
        erasure.begin(conn, "gone", "request dr-1", "desk", {})
    for key in (new_key(), "wrong"):
        monkeypatch.setenv("KEHU_MASTER_KEY", key)
        assert looked_at(database) == [("wrong", "1 were interrupted: gone")]


def test_without_the_master_key_nobody_is_forgotten(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody could read would stay, and the certificate would not say so."""
    with monkeypatch.context() as other:
        other.setenv("KEHU_MASTER_KEY", new_key())
        done = bank.erase()
    assert (done.code, "wrapped under a master key that is not configured" in done.err) == (2, True), done.err
    assert bank.sees("gone") == [bank.word]
    with psycopg.connect(bank.database) as conn:
        assert conn.execute("SELECT count(*) FROM kehu.erasures").fetchone() == (0,)


def test_an_erasure_waits_for_a_worker_with_no_message_locked_and_sees_what_it_did(bank: Bank) -> None:
    """Given a worker that moved its position, when it takes a message out of its queue, then nobody is in its way."""
    with closing(Erasing(bank.database, bootstrap.now)) as erasing, psycopg.connect(bank.database) as worker:
        begun = erasure.begin(erasing.conn, "gone", "request dr-1", "desk", {})
        erasure.forget(erasing.conn, begun, bootstrap.now())
        worker.execute("UPDATE kehu.positions SET updated_at = clock_timestamp()")
        emptying = Thread(target=lambda: tried(lambda: erasure.empty(erasing.conn, "gone", bootstrap.now())))
        emptying.start()
        waits = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
        with psycopg.connect(bank.database, autocommit=True) as watch:
            while watch.execute(waits, (erasing.conn.info.backend_pid,)).fetchone() != ("Lock",):
                assert emptying.is_alive()
        found = worker.execute("SELECT seq FROM kehu.parked FOR UPDATE NOWAIT").fetchall()
        assert worker.execute("DELETE FROM kehu.parked").rowcount == len(found) == 1
        worker.commit()
        emptying.join(10)
        (purged,) = erasing.conn.execute("SELECT purged->'messages'->'parked' AS n FROM kehu.erasures").fetchall()
        assert purged == {"n": 0}


def test_a_customer_with_an_open_case_or_a_running_relationship_is_not_forgotten(database: str) -> None:
    with closing(Bank(database)) as bank:
        bank.take(CustomerRegistered(name=bank.word), "active")
        bank.story("claims", bank.word)
        bank.take(ComplaintOpened(complaint_id="p9", channel="app", regime="uk_disp_standard"), "claims", 30)
        bank.take(
            ComplaintOpened(complaint_id="p10", channel="app", case_type="data_request", regime="gdpr_dsr"), "asks"
        )
        bank.fold()
        assert bank.erase("claims", "--dry-run").code == 0
        assert bank.acts() == []
        refused = bank.erase("claims")
        assert (refused.code, "complaint p9 is open, due on" in refused.err) == (6, True), refused.err
        assert "the relationship has not ended" in bank.erase("active").err
        assert bank.sees("claims") == [bank.word]
        # Refusals are told, once for the same request and the same reason.
        assert bank.erase("claims").code == 6
        [(act, claims), (other, active)] = bank.acts()
        assert (act, other) == ("erasure-refused.v1", "erasure-refused.v1")
        assert (claims["customer"], claims["why"].startswith("complaint p9 is open")) == ("claims", True)
        assert active == {
            "customer": "active",
            "why": "the relationship has not ended: needed to perform the contract",
        }
        assert bank.erase("asks").code == 0
        assert bank.acts()[2:] == [("customer-forgotten.v1", {"customer": "asks", "erasure": bank.log.head() - 1})]
        unknown = bank.erase("nobody")
        assert (unknown.code, "Nothing is stored about this customer" in unknown.err) == (1, True)


def test_what_must_be_kept_is_restricted_until_a_date_and_a_bank_sets_its_own_rules(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[ours]]\nversion = 1\neffective_from = 1970-01-01\nsource = "bank\'s own"\nbasis = "our policy"\n'
        'about = "relationship"\nyears = 300\nsince = "end"\n'
    )
    monkeypatch.setenv("KEHU_ERASURE_RULES", str(rules))
    told = bank.erase("gone", "--dry-run", "--json").rows[0]
    assert (told["outcome"], told["basis"], told["until"]) == ("restricted", "our policy", "2315-03-13")
    restricted = bank.erase()
    assert (restricted.code, "until 2315-03-13: our policy" in restricted.err) == (5, True)
    assert bank.sees("gone") == [bank.word]
    # It is kept, once however often it is asked, also where a worker writes the same stream; and it is told.
    assert (
        bank.take(CustomerConsentChanged(purpose="ads", channel="email", status="revoked"), "gone") == Outcome.APPENDED
    )
    assert bank.erase().code == 5
    bank.fold()
    shown = kehu("show", "customer", "gone", "--postgres", bank.database)
    assert "kept until 2315-03-13: our policy" in shown.out
    held = json.loads(kehu("subject-access", "gone", "--format", "json", "--postgres", bank.database).out)
    (row,) = held["read_models"]["customer_restrictions"]
    assert (row["until"], row["reason"]) == ("2315-03-13", "request dr-1")
    assert [event["type"] for event in held["events"]].count("customer.restricted") == 1
    kept = {"customer": "gone", "until": "2315-03-13", "basis": "our policy"}
    assert bank.acts() == [("erasure-restricted.v1", kept)]
    # Nobody is due before the date has come; then everybody is for whom nothing else stands against it.
    due = ("erase", "--due", "--postgres", bank.database)
    assert kehu(*due, "--json").rows == []
    assert looked_at(bank.database) == [("ok", "none was interrupted, and nobody is due")]
    with psycopg.connect(bank.database) as conn:
        conn.execute("UPDATE kehu.customer_restrictions SET until = current_date")
    # Without the master key, too.
    with monkeypatch.context() as without:
        without.setenv("KEHU_MASTER_KEY", "none")
        assert looked_at(bank.database) == [("warning", "1 need be kept no longer: gone")]
    later = kehu(*due)
    assert (later.code, "until 2315-03-13" in later.err) == (5, True)
    monkeypatch.delenv("KEHU_ERASURE_RULES")
    done = kehu(*due, "--json")
    assert (done.code, [(one["customer"], one["reason"]) for one in done.rows]) == (0, [("gone", "request dr-1")])
    assert bank.found() == set()
    assert kehu(*due, "--json").rows == []
    assert kehu(*due, "--reason", "whose?").code == 2
    monkeypatch.setenv("KEHU_ERASURE_RULES", str(rules))
    rules.write_text("[[ours]]\n")
    assert bank.erase().code == 2


def test_a_log_of_a_former_release_is_told_to_hold_personal_data_in_the_clear(bank: Bank) -> None:
    with psycopg.connect(bank.database) as conn:
        conn.execute(
            """UPDATE kehu.stored_events SET state = convert_to((jsonb_set(convert_from(state, 'UTF8')::jsonb,
                '{data,email}', '"clear@x.example"') - 'hidden')::text, 'UTF8')
            WHERE topic = 'customer.profile-changed.v1' AND customer_id = 'gone'"""
        )
    (told,) = bank.erase("gone", "--json").rows
    assert told["left"]["events_in_the_clear"] == 2


def test_dead_letters_of_a_former_release_are_forgotten_where_they_name_the_customer(bank: Bank) -> None:
    """Given letters in the clear, when a customer is erased, those that nobody could read are searched as well."""
    letters = {
        (None, None): b'{"subject": "gone", "said": "%b"' % bank.word.encode(),
        (bank.word.encode(), None): b"{gone said it",
        (b"gone", "customer-gone"): b'{"said": "%b"}' % bank.word.encode(),
        # Of others: one that was read, and one that names another.
        (b"stays", "complaint-stays-1"): b'{"complaint_id": "stays-1", "said": "like gone"}',
        (None, ""): b"{gone-10 said something",
    }
    with psycopg.connect(bank.database) as conn:
        for offset, ((key, stream), value) in enumerate(letters.items(), 100):
            conn.execute(
                """INSERT INTO kehu.dead_letters (topic, topic_id, partition, kafka_offset, kafka_timestamp, key, value,
                    header_names, header_values, rule, detail, stream, died_at)
                VALUES ('kehu.surveys', 'former', 0, %s, 0, %s, %s, '{}', '{}', 'r', 'd', %s, now())""",
                (offset, key, value, stream or None),
            )
    assert bank.erase().code == 0
    assert bank.found() == set()
    kept = {letter["value"] for letter in dead_letters(bank.database) if letter["topic_id"] == "former"}
    assert kept == {None, letters[b"stays", "complaint-stays-1"], letters[None, ""]}


FORMS = ("json", "html", "text")


def test_a_person_sees_everything_that_is_held_on_them_and_nothing_of_others(bank: Bank) -> None:
    def asked(form: str) -> Done:
        return kehu("subject-access", "gone", "--format", form, "--postgres", bank.database)

    told = json.loads(asked("json").out)
    assert told["known_as"] == ["gone"]
    said = {event["type"]: event["says"] for event in told["events"]}
    assert said["survey.answered"]["comment"] == f"{bank.word} was not amused"
    assert said["transaction.posted"]["text"] == f"Rent of {bank.word}"
    assert len(told["events"]) == 15  # with two clocks and a score
    assert bank.word in told["waiting"][0]["value"]
    assert [letter["value"] for letter in told["dead_letters"]] == [f"{{not json of {bank.word}"]
    assert {"customers", "customer_personal", "customer_timeline", "retention_risk"} <= told["read_models"].keys()
    assert [one["rows"] for one in told["not_told"]] == [["gone"], ["complaint-gone-1"], ['["gone-1", "service"]']]
    assert (told["complete"], told["missing"]) == (True, None)
    for form in FORMS:
        out = " ".join(asked(form).out.split())  # a terminal breaks lines
        assert f"{bank.word} was not amused" in out
        assert "stays" not in out
        assert "Trillian" not in out
    assert asked("html").out.startswith("<!doctype html>")
    assert kehu("subject-access", "nobody", "--postgres", bank.database).code == 1
    assert bank.erase().code == 0
    assert (bank.word in asked("json").out, "[erased]" in asked("json").out) == (False, True)


def test_without_the_master_key_what_is_personal_stays_hidden(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEHU_MASTER_KEY", new_key())
    asked = {form: kehu("subject-access", "gone", "--format", form, "--postgres", bank.database) for form in FORMS}
    # It cannot be taken for an answer: no form of it is without the warning, and the command fails.
    for done in asked.values():
        out = " ".join(done.out.split())
        assert (done.code, "incomplete" in done.err, "incomplete and not to be handed out" in out) == (2, True, True)
        assert "KEHU_MASTER_KEY_FILE" in out
    told = json.loads(asked["json"].out)
    assert told["complete"] is False
    says = {event["type"]: event["says"] for event in told["events"]}
    assert says["complaint.opened"]["description"] == "[hidden]"
    (waiting,) = told["waiting"]
    assert (waiting["value"], waiting["unreadable"]) == (None, "hidden")


def test_what_nobody_could_read_goes_after_a_while(bank: Bank) -> None:
    with psycopg.connect(bank.database) as conn:
        conn.execute("UPDATE kehu.dead_letters SET published = true, died_at = died_at - interval '31 days'")
    with closing(DeadLetterOutbox(bank.database)) as outbox:
        assert outbox.purge_unread(timedelta(days=40)) == 0
        assert outbox.purge_unread(timedelta(days=30)) == 3
    kept = {letter["key"]: letter["value"] for letter in dead_letters(bank.database)}
    assert kept == {b"gone": f"{{not json of {bank.word}".encode(), None: None}


def test_a_markup_in_what_was_said_is_no_markup_of_the_page(database: str) -> None:
    with closing(Bank(database)) as bank:
        bank.take(CustomerRegistered(name="<script>alert(1)</script>"), "c1")
        bank.fold()
        out = kehu("subject-access", "c1", "--format", "html", "--postgres", database).out
    assert "&lt;script&gt;" in out
    assert "<script>" not in out
