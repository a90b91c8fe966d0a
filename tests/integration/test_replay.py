"""Read models as they stood: what is replayed in the database is the fold of the events that counted then."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from benchmarks.load import batches
from consumers.ingest import Ingest
from consumers.projector import Projector
from domain import registry
from domain.contact import ContactQueued, ContactStarted
from domain.customer import CustomerRegistered
from domain.values import Fact, Position, Recorded
from examples.bank import Bank
from infra import bootstrap
from infra.cli.servers import Connection, connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka import codec
from infra.kafka.topics import topic_of
from infra.postgres.as_of import EVER, AsOf, NoSuchMoment
from infra.postgres.builds import Build
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.past import Moment, Past, known_position
from infra.postgres.questions.answer import Answer
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.replayed import TABLES, NothingLive, changes, counted_changes, digest_of, live_build
from infra.postgres.replayed import rows_of as replayed_rows
from infra.replay import How, Replayed, Wanted, replay, table_at, table_beside_live, table_between
from projections.catalogue import ALL
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.declare import CannotFold, Projection, Table
from projections.retention_risk import AT_RISK, RETENTION_RISK, RISK
from tests.support.builders import NOON, fact
from tests.support.histories import END
from tests.support.rows import fold

MESSAGES = 1_500
TIMELINE = CUSTOMER_TIMELINE.tables[0]


def ago(days: float) -> datetime:
    return NOON - timedelta(days=days)


EVERY = pytest.mark.parametrize("projection", ALL, ids=lambda p: p.name)


@dataclass(frozen=True)
class Stored:
    """A bank's log in PostgreSQL with its read models, and the same events in memory."""

    url: str
    events: list[Recorded]

    @property
    def middle(self) -> Moment:
        """Half of what happened, and of that what was recorded in the first two thirds."""
        times = sorted(event.meta.occurred_at for event in self.events)
        known_by = self.events[len(self.events) * 2 // 3].recorded_at
        return Moment(times[len(times) // 2], known_by)

    def counted(self, moment: Moment) -> list[Recorded]:
        """What counts at a moment, in the order of the log."""
        return [
            event
            for event in self.events
            if event.meta.occurred_at <= moment.happened_by
            and event.recorded_at is not None
            and (moment.known_by is None or event.recorded_at <= moment.known_by)
        ]


LATE = "c-late"
STORY = (
    fact(ContactQueued(contact_id="k-late", channel="phone", queue="cards"), "late-1", customer=LATE, at=ago(20)),
    fact(ContactStarted(contact_id="k-late"), "late-2", customer=LATE, at=ago(5)),
    fact(CustomerRegistered(kind="person"), "late-3", customer=LATE, at=ago(10)),
)
"""Of one customer: what happened ten days ago was recorded last, each in a batch of its own."""


def told(said: Fact) -> tuple[str, bytes, bytes]:
    key, value, _ = codec.structured(said)
    return topic_of(registry.of(said.data).name), key, value


@pytest.fixture(scope="module")
def stored(postgres_server: EmbeddedPostgres) -> Iterator[Stored]:
    """Recorded in batches, each at a time of its own."""
    url = postgres_server.create_database("replay")
    migrate(url)
    with closing(PostgresLog(url)) as log, closing(PostgresReadModels(url)) as models:
        for projection in ALL:
            models.create(projection)
        ingest = Ingest(log, bootstrap.decoder(lambda: END), lambda: END)
        # Half of the customers come late, with all their history.
        sent = sorted(Bank(23, end=END).messages(MESSAGES), key=lambda message: int(message.key[-1]) % 2)
        encoded = [(m.topic, m.key.encode(), m.value) for m in sent]
        for place, said in zip((500, 1000, len(encoded) + 2), STORY, strict=True):
            encoded.insert(place, told(said))
        for batch in batches(ingest, encoded, 100):
            ingest.take(batch)
        Projector(log, models, ALL).run_until_caught_up()
        yield Stored(url, list(log.read(Position(0), 100_000)))


def rows_of(conn: Connection, table: Table) -> list[dict[str, Any]]:
    """All rows of a read model that this connection sees, by key."""
    answer = Answer(conn)
    rows = answer.rows(f"SELECT {', '.join([*table.key, *table.columns])} FROM {table.name}")
    return sorted(rows, key=lambda row: [row[name] for name in table.key])


@EVERY
def test_a_replay_is_the_fold_of_what_counted(stored: Stored, projection: Projection) -> None:
    counted = stored.counted(stored.middle)
    assert 100 < len(counted) < len(stored.events) / 2
    expected = fold(projection, counted)
    with closing(connected(stored.url)) as conn:
        replay(conn, [projection], stored.middle)
        for table in projection.tables:
            assert rows_of(conn, table) == expected.whole(table), table.name


@EVERY
def test_a_replay_of_everything_is_the_live_read_model(stored: Stored, projection: Projection) -> None:
    with closing(connected(stored.url)) as conn, closing(connected(stored.url)) as live:
        assert replay(conn, [projection], Moment(END + timedelta(days=1))) == len(stored.events)
        for table in projection.tables:
            assert rows_of(conn, table) == rows_of(live, table), table.name
        assert any(rows_of(conn, table) for table in projection.tables)


def test_a_replay_for_one_customer_has_the_rows_of_this_one(stored: Stored) -> None:
    with closing(connected(stored.url)) as conn, closing(connected(stored.url)) as one:
        replay(conn, [RETENTION_RISK], stored.middle)
        everybody = rows_of(conn, RISK)
        customer = everybody[7]["customer_id"]
        replay(one, [RETENTION_RISK], stored.middle, [customer])
        assert rows_of(one, RISK) == [everybody[7]]


def test_nobody_else_sees_a_replay_and_it_leaves_nothing_behind(stored: Stored) -> None:
    tables = "SELECT oid FROM pg_class WHERE relname = 'retention_risk' AND relkind = 'r'"
    with closing(connected(stored.url)) as other:
        other.autocommit = True
        before, there = rows_of(other, RISK), other.execute(tables).fetchall()
        with closing(connected(stored.url)) as conn:
            replay(conn, [RETENTION_RISK], stored.middle)
            assert rows_of(conn, RISK) != before
            assert rows_of(other, RISK) == before
            conn.execute("DISCARD TEMP")
            assert rows_of(conn, RISK) == before
            conn.commit()
        # Of connections that were closed before some may still go.
        assert all(table in there for table in other.execute(tables).fetchall())


def test_the_last_known_position_is_that_of_the_last_event_recorded_by_then(stored: Stored) -> None:
    first = stored.events[0].recorded_at
    assert first is not None
    moments: list[datetime] = [event.recorded_at for event in stored.events[::97] if event.recorded_at is not None]
    with psycopg.connect(stored.url) as conn:
        for moment in moments:
            last = max(e.position for e in stored.events if e.recorded_at and e.recorded_at <= moment and e.position)
            assert known_position(conn, moment) == last
        assert known_position(conn, first - timedelta(microseconds=1)) == 0
        assert known_position(conn, None) == len(stored.events)


def shown(
    url: str, asked: AsOf, customers: Sequence[str] = (), view: str = TIMELINE.name
) -> tuple[Replayed, list[Any]]:
    """A view as an auditor replays it."""
    with closing(connected(url)) as conn:
        projection, table = TABLES[view]
        found = table_at(conn, Wanted(projection, table, customers), asked, bootstrap.now())
        return found, list(replayed_rows(conn, table))


def test_a_late_event_is_known_later_than_it_happened(stored: Stored) -> None:
    first, second, late = (event for event in stored.events if event.meta.customer_id == LATE)
    assert late.meta.occurred_at < second.meta.occurred_at
    assert second.recorded_at is not None
    assert late.recorded_at is not None
    assert second.recorded_at < late.recorded_at

    def types(asked: AsOf) -> list[str]:
        return [row["type"] for row in shown(stored.url, asked, [LATE])[1]]

    assert types(AsOf(happened_by=ago(9))) == [first.name, late.name]
    assert types(AsOf(known_at=second.recorded_at)) == [first.name, second.name]
    assert types(AsOf(known_at=second.recorded_at, happened_by=ago(9))) == [first.name]
    assert types(AsOf(position=late.position)) == [first.name, second.name, late.name]
    assert types(AsOf(position=0)) == []


@pytest.mark.parametrize("view", ["retention_risk", "retention_risk_alerts", "queue_items", "satisfaction_daily"])
def test_the_same_moment_has_the_same_digest_by_each_of_its_names(stored: Stored, view: str) -> None:
    third = stored.events[len(stored.events) // 3]
    assert third.recorded_at is not None
    asked = [AsOf(known_at=third.recorded_at), AsOf(position=len(stored.events) // 2), AsOf(happened_by=ago(20))]
    for one in asked:
        found, rows = shown(stored.url, one, view=view)
        again, same = shown(stored.url, AsOf.parse(found.of.text), view=view)
        assert (again.of, again.digest, again.rows, same) == (found.of, found.digest, len(rows), rows)
    assert len({shown(stored.url, one, view=view)[0].digest for one in asked}) > 1


@pytest.mark.parametrize("view", [table.name for projection in ALL for table in projection.tables])
def test_a_replay_has_the_digest_of_the_live_read_model(stored: Stored, view: str) -> None:
    projection, table = TABLES[view]
    with closing(connected(stored.url)) as conn:
        if table is AT_RISK:
            with pytest.raises(NothingLive, match="retention_risk"):
                table_beside_live(conn, Wanted(projection, table), bootstrap.now())
            return
        found = table_beside_live(conn, Wanted(projection, table), bootstrap.now())
    assert found.replayed.of.position == len(stored.events)
    assert found.digests[0] == found.digests[1]


def test_a_live_row_that_was_changed_by_hand_has_another_digest(stored: Stored) -> None:
    change = "UPDATE kehu.customer_timeline SET summary = summary || %s WHERE customer_id = %s"
    with closing(connected(stored.url)) as conn, psycopg.connect(stored.url, autocommit=True) as other:
        other.execute(change, ("!", LATE))
        try:
            found = table_beside_live(conn, Wanted(CUSTOMER_TIMELINE, TIMELINE), bootstrap.now())
        finally:
            other.execute("UPDATE kehu.customer_timeline SET summary = rtrim(summary, '!')")
    assert found.digests[0] != found.digests[1]


@pytest.mark.parametrize("behind", [0, 700])
def test_the_streams_of_a_customer_hold_all_events_about_them(stored: Stored, behind: int) -> None:
    names = {one.name for one in registry.all_registrations()}
    customers = sorted({str(event.meta.customer_id) for event in stored.events})[::9]
    with closing(connected(stored.url)) as conn:
        conn.execute(
            "UPDATE kehu.projection_builds SET position = position - %s WHERE name = 'customer_timeline'", (behind,)
        )
        for some in [[one] for one in [*customers, LATE, "nobody"]] + [customers]:
            past = Past(Moment(EVER), Position(len(stored.events)), some)
            found = [event for batch in past.events(conn, names, names, lambda _: None) for event in batch]
            own = [event for event in stored.events if event.meta.customer_id in some]
            assert found == sorted(own, key=lambda event: (event.meta.customer_id, event.position))
        conn.rollback()


@pytest.mark.parametrize(
    "view", ["retention_risk", "customer_timeline", "queue_items", "satisfaction_daily", "retention_risk_alerts"]
)
def test_changes_lead_from_one_moment_to_the_other_and_name_the_events(stored: Stored, view: str) -> None:
    projection, table = TABLES[view]
    asked = AsOf(position=len(stored.events) // 2), AsOf(happened_by=ago(8))
    rows = {one: {key_of(table, row): row for row in shown(stored.url, one, view=view)[1]} for one in asked}
    with closing(connected(stored.url)) as conn:
        before, after = table_between(conn, Wanted(projection, table), asked, bootstrap.now())
        counts, found = counted_changes(conn, table), list(changes(conn, table))
    assert counts == {kind: sum(one["kind"] == kind for one in found) for kind in ("added", "removed", "changed")}
    assert len(found) > 1
    made = dict(rows[asked[0]])
    for one in found:
        key = tuple(one["key"].values())
        assert {**made.get(key, {}), **(one["before"] or {})} == made.get(key, {})
        made[key] = {**made.get(key, {}), **one["key"], **(one["after"] or {})}
        if one["after"] is None:
            del made[key]
        events = [stored.events[event["position"] - 1] for event in one["events"]]
        assert all(before.of.counts(event) != after.of.counts(event) for event in events)
        assert [event.name for event in events] == [event["name"] for event in one["events"]]
        assert (one["because"] == "events") == bool(events)
        assert events or view.startswith("retention_risk"), "only there rows change because time passes"
    assert made == rows[asked[1]]


def key_of(table: Table, row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in table.key)


def test_time_that_passes_changes_a_score_without_an_event(stored: Stored) -> None:
    head = len(stored.events)
    asked = AsOf(position=head, happened_by=END), AsOf(position=head, happened_by=END + timedelta(days=200))
    with closing(connected(stored.url)) as conn:
        table_between(conn, Wanted(RETENTION_RISK, RISK), asked, END + timedelta(days=300))
        found = list(changes(conn, RISK))
    assert found
    assert {(one["because"], one["events_total"]) for one in found} == {("time", 0)}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (AsOf(position=10**9), "the log has"),
        (AsOf(position=1, known_at=END), "give one of them"),
        (AsOf(known_at=END + timedelta(days=9999)), "more may be recorded"),
        (AsOf(happened_by=END + timedelta(days=9999)), "more may be recorded"),
    ],
)
def test_a_moment_that_is_not_over_is_refused(stored: Stored, asked: AsOf, told: str) -> None:
    with closing(connected(stored.url)) as conn, pytest.raises(NoSuchMoment, match=told):
        asked.resolved(conn, bootstrap.now())


def test_a_digest_says_what_rows_there_are_and_not_how_they_lie(stored: Stored) -> None:
    with closing(connected(stored.url)) as conn:
        table_at(conn, Wanted(CUSTOMER_TIMELINE, TIMELINE), AsOf(), bootstrap.now())
        there = digest_of(conn, TIMELINE)
        conn.execute(
            "CREATE TEMP TABLE upside_down AS SELECT * FROM pg_temp.customer_timeline ORDER BY log_position DESC"
        )
        conn.execute("TRUNCATE pg_temp.customer_timeline")
        conn.execute("INSERT INTO pg_temp.customer_timeline SELECT * FROM upside_down")
        assert digest_of(conn, TIMELINE) == there
        conn.execute("DELETE FROM pg_temp.customer_timeline WHERE log_position = 7")
        assert digest_of(conn, TIMELINE)[0] == there[0] - 1
        assert digest_of(conn, TIMELINE)[1] != there[1]


@pytest.mark.parametrize("view", ["retention_risk", "satisfaction_daily"])
def test_processes_that_share_a_replay_make_the_same_rows(
    stored: Stored, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.replay.FROM", 0)
    wanted, read = Wanted(*TABLES[view]), list[int]()
    asked = AsOf(position=len(stored.events) // 2), AsOf(happened_by=ago(8))
    with closing(connected(stored.url)) as one, closing(connected(stored.url)) as other:
        alone = table_between(one, wanted, asked, END)
        shared = table_between(other, wanted, asked, END, How(read.append, stored.url, 2))
        assert shared == alone
        assert list(changes(other, wanted.table)) == list(changes(one, wanted.table)) != []
    assert sum(read) > 0


def test_an_event_that_cannot_be_folded_stops_all_processes_that_share_a_replay(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.replay.FROM", 0)
    how = How(postgres=stored.url, processes=2)
    wanted, bad = Wanted(CUSTOMER_TIMELINE, TIMELINE), pytest.raises(CannotFold, match="position 700")
    with closing(connected(stored.url)) as conn, spoiled(stored, 700), bad:
        table_at(conn, wanted, AsOf(), END, how)


def test_processes_that_share_a_replay_see_the_log_as_it_was_when_the_comparison_began(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.replay.FROM", 0)
    with ExitStack() as held, closing(connected(stored.url)) as conn:

        def while_it_runs(conn: Connection, projection: Projection) -> Build:
            held.enter_context(spoiled(stored, 700))
            return live_build(conn, projection)

        monkeypatch.setattr("infra.replay.live_build", while_it_runs)
        wanted, how = Wanted(CUSTOMER_TIMELINE, TIMELINE), How(postgres=stored.url, processes=2)
        found = table_beside_live(conn, wanted, END, how)
    assert found.digests[0] == found.digests[1]


@contextmanager
def spoiled(stored: Stored, position: int) -> Iterator[None]:
    """The event at a position cannot be read until the block ends."""
    swap = """UPDATE kehu.stored_events new SET state = %s FROM kehu.stored_events old
        WHERE (new.notification_id, old.notification_id) = (%s, new.notification_id) RETURNING old.state"""
    with closing(connected(stored.url)) as conn:
        (row,) = conn.execute(swap, (b"{", position)).fetchall()
        conn.commit()
        try:
            yield
        finally:
            conn.execute(swap, (row["state"], position))
            conn.commit()
