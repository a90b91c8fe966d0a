"""The plain way to build a read model, as the library's documentation shows it: one view update per event."""

import time
from functools import singledispatchmethod
from typing import Any

from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL, Identifier

from benchmarks.plain_agent import Customer, Customers, environment

PATIENCE = 120.0
"""Seconds in which the view must have all events."""


class Counts(PostgresTrackingRecorder):
    """How often each kind of message came."""

    def __init__(self, datastore: PostgresDatastore, **names: Any) -> None:
        super().__init__(datastore, **names)
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS {} (kind text PRIMARY KEY, n bigint)").format(Identifier("counts"))
        )

    def count(self, kind: str, tracking: Tracking) -> None:
        """Count one message, in the transaction that keeps the position."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO counts VALUES (%s, 1) ON CONFLICT (kind) DO UPDATE SET n = counts.n + 1", (kind,)
            )


class Counting(Projection[Counts]):
    """Feeds the counts."""

    name = "counting"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Every event of a customer is counted under its kind."""
        self.view.count(getattr(domain_event, "kind", "registered"), tracking)


def rate(postgres: str, events: int) -> float:
    """Fill the library's own log with so many events and run the projection over them; events a second."""
    env = environment(postgres)
    customers = Customers(env)
    made = []
    for number in range(max(events // 10, 1)):
        customer = Customer(f"c-{number}")
        for _ in range(9):
            customer.tell("kehu.survey.answered.v1", {"invitation_id": f"s-{number}", "score": 9})
        made.append(customer)
    last = customers.save(*made)[-1].notification.id
    started = time.perf_counter()
    with ProjectionRunner(application_class=Customers, projection_class=Counting, view_class=Counts, env=env) as runner:
        runner.wait(last, timeout=PATIENCE)
    seconds = time.perf_counter() - started
    customers.close()
    return last / seconds
