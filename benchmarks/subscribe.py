"""Group subscribe: rows of views that a publisher sends a second, each acknowledged, with marks that are saved; and how
long changes take to 500 followers over HTTP.

`--events` is the number of customers; nearly all of the rows are theirs: one risk each, and cases and cells of
satisfaction beside it.
"""

import asyncio
import time
from collections import Counter

from benchmarks import customers, follow
from benchmarks.figures import Figure, Figures, Settings, middle
from benchmarks.servers import fresh_database, start_broker, start_postgres
from consumers.view_publisher import ViewPublisher
from infra import bootstrap

CUSTOMERS = 100_000
BAR = 20_000
"""Rows a second."""


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    with start_postgres(settings.folder) as server, fresh_database(server) as database:
        customers.fill(database, settings.events or CUSTOMERS)
        rates = []
        for _ in range(settings.rounds):
            # The topics of another broker are others, so each round publishes everything.
            with start_broker(settings.broker, settings.folder) as kafka:
                bootstrap.setup(database, kafka)
                rates.append(asyncio.run(_published(database, kafka)))
        followed = follow.run(settings, database)
    return {"publish_rps": Figure(middle(rates), "rows/s", BAR, "the bar"), **followed}


async def _published(database: str, kafka: str) -> float:
    """Rows a second, from a publisher that knows nothing until everything is published."""
    sent: Counter[str] = Counter()

    def count(view: str, rows: int) -> None:
        sent[view] += rows

    publisher = ViewPublisher(database, kafka, lambda _seconds: None, count)
    try:
        started = time.perf_counter()
        while (await publisher.once())[1]:
            pass
        return sent.total() / (time.perf_counter() - started)
    finally:
        await publisher.on_stop()
