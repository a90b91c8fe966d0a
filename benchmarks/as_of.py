"""What the past costs an auditor: one customer as of a position, and a view as of a position against its rebuild.

`--customers` is how many the store has at least; the log is that of the example bank over and over, under other names.
"""

import random
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import psycopg

from benchmarks import load
from benchmarks.figures import Figure, Figures, Settings, alternating, middle, percentile
from benchmarks.history import repeated
from benchmarks.rebuild import fill_log
from benchmarks.servers import fresh_database
from infra import bootstrap
from infra.cli.fillers import fill_builds
from infra.cli.servers import Connection, connected
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres.as_of import AsOf
from infra.postgres.builds import Builds
from infra.postgres.log import PostgresLog
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.identity import ever_linked
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.replayed import rows_of
from infra.replay import How, Wanted, table_at
from projections.catalogue import ALL
from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.customers import CUSTOMERS
from projections.declare import Projection
from projections.retention_risk import RETENTION_RISK, RISK

STORED = 20_000
"""Customers of the store."""
MESSAGES, EACH = 100_000, 11_000
"""Messages of a history, and how many customers they are about."""
ASKED = 200
PROCESSES = 2
"""That rebuild or replay, as the commands have them on two cores."""
READ_MODELS = (CUSTOMER_TIMELINE, CUSTOMERS, RETENTION_RISK)


def run(settings: Settings, server: EmbeddedPostgres) -> Figures:
    """Both figures."""
    customers = settings.customers or STORED
    messages = settings.events or MESSAGES
    times = -(-customers * MESSAGES // (EACH * messages))
    with fresh_database(server) as first:
        fill_log(first, load.messages(messages))
        with repeated(server, first, times, renamed=True) as name:
            database = server.url(name)
            events = _make_live(database)
            with psycopg.connect(database) as conn:
                query = "SELECT customer_id FROM kehu.retention_risk"
                known = [row[0] for row in conn.execute(query).fetchall()]
            asked = [_asked(database, known, events) for _ in range(settings.rounds)]
            ways = [partial(_rebuilt, database, [RETENTION_RISK]), partial(_replayed, database)]
            rebuilt, replayed = (events / middle(seconds) for seconds in alternating(settings.rounds, *ways))
    slowest = middle([percentile(seconds, 99) * 1000 for seconds in asked])
    return {
        "as_of_customer_p99_ms": Figure(slowest, "ms", 50, f"the bar for 1,000,000 customers; here {len(known):,}"),
        "as_of_view_vs_rebuild": Figure(
            replayed, "events/s", rebuilt, "a rebuild of it by two processes; the bar is 0.5"
        ),
    }


def _make_live(database: str) -> int:
    """Make the read models that an auditor's questions look at; how many events the log has."""
    with closing(PostgresReadModels(database)) as models:
        for projection in ALL:
            models.create(projection)
    _rebuilt(database, READ_MODELS)
    with closing(Builds(database)) as builds, closing(PostgresLog(database)) as log:
        for projection in READ_MODELS:
            candidate = builds.of(projection.name)["candidate"]
            assert builds.switch(projection, candidate, "benchmarks", None, bootstrap.now())
        return log.head()


def _rebuilt(database: str, projections: Sequence[Projection]) -> float:
    with closing(Builds(database)) as builds, closing(PostgresLog(database)) as log:
        for projection in projections:
            if old := builds.of(projection.name).get("candidate"):
                builds.drop(old)
        head, began = log.head(), time.perf_counter()
        candidates = [builds.begin(projection) for projection in projections]
        fill_builds(database, candidates, head, PROCESSES, lambda _read: None)
        builds.filled(candidates, head)
        return time.perf_counter() - began


def _replayed(database: str) -> float:
    with closing(connected(database)) as conn:
        began = time.perf_counter()
        table_at(
            conn, Wanted(RETENTION_RISK, RISK), AsOf(), bootstrap.now(), How(postgres=database, processes=PROCESSES)
        )
        return time.perf_counter() - began


def _asked(database: str, known: Sequence[str], events: int) -> list[float]:
    """Seconds of each answer: another customer's risk as of another position, with all that were ever one."""
    rng, found = random.Random(7), []
    with closing(connected(database)) as conn:
        for _ in range(ASKED):
            asked = AsOf(position=rng.randrange(events))
            began = time.perf_counter()
            _ask(conn, rng.choice(known), asked)
            found.append(time.perf_counter() - began)
            conn.execute("DISCARD TEMP")
            conn.commit()
    return found


def _ask(conn: Connection, customer: str, asked: AsOf) -> None:
    linked = ever_linked(Answer(conn, CUSTOMERS), customer)
    conn.commit()
    table_at(conn, Wanted(RETENTION_RISK, RISK, linked), asked, bootstrap.now())
    list(rows_of(conn, RISK))
