"""Read models as they stood: what is replayed in the database is the fold of the events that counted then."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from benchmarks.load import batches
from consumers.ingest import Ingest
from consumers.projector import Projector
from domain.values import Position, Recorded
from examples.bank import Bank
from infra import bootstrap
from infra.cli.servers import Connection, connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.past import Moment, known_position
from infra.postgres.questions.answer import Answer
from infra.postgres.read_models import PostgresReadModels
from infra.replay import replay
from projections.catalogue import ALL
from projections.declare import Projection, Table
from projections.retention_risk import RETENTION_RISK, RISK
from tests.support.histories import END
from tests.support.rows import fold

MESSAGES = 1_500
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
        for batch in batches(ingest, [(m.topic, m.key.encode(), m.value) for m in sent], 100):
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
