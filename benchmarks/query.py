"""Group query: what is asked of the read models most, against a plain look-up by primary key on the same server.

The questions are those of `kehu show`, each in a snapshot of its own that tells how fresh it is, without the start of a
process and its connection; one customer's page and exports over HTTP. `--events` is the number of customers.
"""

import random
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from functools import partial

import psycopg

from benchmarks import customers, http
from benchmarks.figures import Figure, Figures, Settings, middle, percentile
from benchmarks.servers import Process, fresh_database, start_broker, start_postgres
from infra import bootstrap
from infra.cli.servers import Connection, connected
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.customers import ABOUT_ONE, open_cases_of, risk_of, timeline
from infra.postgres.questions.queues import open_cases, summaries
from infra.postgres.questions.satisfaction import scores
from infra.whole_customer import whole_of
from projections.satisfaction import SATISFACTION
from projections.service_queues import ITEMS, SERVICE_QUEUES

CUSTOMERS = 20_000
ASKED = 200
"""How often each question is asked, about another customer or queue each time."""
PAGE = 50
QUARTER = timedelta(days=89)


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    number = settings.events or CUSTOMERS
    with start_postgres(settings.folder) as server:
        with fresh_database(server) as database:
            customers.fill(database, number)
            with closing(connected(database)) as conn:
                found = [_asked(conn, number) for _ in range(settings.rounds)]
            asked = http.run(settings, database, number)
            rows, memory = http.exported(settings, database)
        with fresh_database(server) as database, start_broker(settings.broker, settings.folder) as kafka:
            bootstrap.setup(database, kafka)
            idle = _idle(settings, database, kafka)
    lookup, *times = ([percentile(one, 99) * 1000 for one in rounds] for rounds in zip(*found, strict=True))
    limit, of = middle(lookup), f"one row by its primary key, of {number:,} customers"
    names = (
        *("customer_p99_ms", "whole_customer_p99_ms", "queue_p99_ms", "queues_p99_ms"),
        *("satisfaction_p99_ms", "satisfaction_branches_p99_ms"),
    )
    figures = {name: Figure(middle(one), "ms", limit, of) for name, one in zip(names, times, strict=True)}
    figures["http_customer_rps"] = Figure(middle([one.rate for one in asked]), "/s", 1000, "the bar, on one core")
    figures["http_customer_p99_ms"] = Figure(middle([one.p99 for one in asked]), "ms", 25, "the bar, at that rate")
    figures["http_customer_us"] = Figure(middle([one.cpu for one in asked]), "µs", 1000, "a core at the bar's rate")
    figures["export_rss_mb"] = Figure(memory, "MiB", 200, f"the bar for 1,000,000 rows; here of {rows:,}")
    return {**figures, "idle_cpu": Figure(idle, "share of a core", 0.01, "the bar")}


def _asked(conn: Connection, number: int) -> list[list[float]]:
    """Seconds of each answer, of the look-up and the questions in turn."""
    conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    conn.read_only = True
    rng, now = random.Random(7), bootstrap.now()

    def lookup(customer: str, _queue: str) -> None:
        conn.execute("SELECT * FROM kehu.retention_risk WHERE customer_id = %s", (customer,)).fetchall()

    def one_customer(customer: str, _queue: str) -> None:
        answer = Answer(conn, *ABOUT_ONE)
        risk_of(answer, customer, now)
        open_cases_of(answer.about([customer], {ITEMS: "open"}), now)
        list(timeline(answer, [customer], PAGE))

    def whole_customer(customer: str, _queue: str) -> None:
        answer = Answer(conn, *ABOUT_ONE)
        whole_of(answer, customer, now)
        list(timeline(answer, [customer], PAGE))

    def queue_page(_customer: str, queue: str) -> None:
        answer = Answer(conn, SERVICE_QUEUES)
        summaries(answer, now, where={"queue": queue, "kind": "case"})
        list(open_cases(answer, now, PAGE, {"queue": queue}))

    def all_queues(_customer: str, _queue: str) -> None:
        answer = Answer(conn, SERVICE_QUEUES)
        summaries(answer, now)
        list(open_cases(answer, now, PAGE))

    def quarter(_customer: str, _queue: str, by: str = "channel") -> None:
        scores(Answer(conn, SATISFACTION), (by,), {}, (now.date() - QUARTER, now.date()))

    branches = partial(quarter, by="branch")
    ways: tuple[Callable[[str, str], None], ...] = (
        lookup,
        one_customer,
        whole_customer,
        queue_page,
        all_queues,
        quarter,
        branches,
    )
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(ASKED):
        whom, which = customers.name(rng.randrange(number) + 1), f"queue {rng.randrange(customers.QUEUES)}"
        for seconds, way in zip(times, ways, strict=True):
            started = time.perf_counter()
            way(whom, which)
            seconds.append(time.perf_counter() - started)
            conn.rollback()
    return times


def _idle(settings: Settings, database: str, kafka: str) -> float:
    """The share of a core that a worker with nothing to do takes, from when it has read its topics."""
    command = ("worker", "--postgres", database, "--kafka", kafka, "--group", "bench")
    with Process(settings.folder, "infra.cli", *command) as worker:
        worker.wait_until(partial(_listens, database))
        time.sleep(settings.seconds)  # it joins its group and starts its services
        begin, used = time.monotonic(), worker.processor_seconds()
        time.sleep(settings.seconds)
        return (worker.processor_seconds() - used) / (time.monotonic() - begin)


def _listens(database: str) -> bool:
    """Whether the projector waits for the log to move: a service that starts among the last."""
    with psycopg.connect(database) as conn:
        query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'kehu-wake'"
        return conn.execute(query).fetchone() is not None
