"""The plain way to ingest, as the packages' documentation shows it: an agent that saves one event per message.

Writes a line per message.
"""

import sys
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import faust
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event

from benchmarks.lines import Lines
from infra.kafka.topics import TOPICS


class Told(faust.Record, serializer="json"):  # type: ignore[misc, call-arg]
    """The part of a CloudEvent that the agent works with."""

    subject: str
    type: str
    data: dict[str, Any]


class Customer(Aggregate):
    """One aggregate per customer, with one event per message."""

    @event("Registered")
    def __init__(self, number: str) -> None:
        self.number = number
        self.messages = 0

    @staticmethod
    def create_id(number: str) -> UUID:
        """The id that follows from the customer's number."""
        return uuid5(NAMESPACE_URL, f"/customers/{number}")

    @event("Told")
    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Something happened with this customer."""
        self.messages += 1


class Customers(Application[UUID]):
    """Saves one aggregate at a time."""

    def tell(self, number: str, kind: str, data: dict[str, Any]) -> None:
        """Load the customer, or make it, and save what happened."""
        try:
            customer: Customer = self.repository.get(Customer.create_id(number))
        except AggregateNotFoundError:
            customer = Customer(number)
        customer.tell(kind, data)
        self.save(customer)


def environment(postgres: str) -> dict[str, str]:
    """The library's own variables for a database of the embedded server."""
    said = dict(part.split("=", 1) for part in postgres.split())
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": said["dbname"],
        "POSTGRES_HOST": said["host"],
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": said["user"],
        "POSTGRES_PASSWORD": "",
    }


def main(postgres: str, kafka: str, folder: str) -> None:
    """Run until SIGTERM."""
    lines = Lines()
    customers = Customers(environment(postgres))
    app = faust.App(
        "plain",
        broker=f"kafka://{kafka}",
        datadir=folder,
        topic_partitions=1,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
    )

    @app.agent(app.topic(*TOPICS.values(), value_type=Told))  # type: ignore[untyped-decorator]
    async def ingest(stream: Any) -> None:
        async for value in stream:
            customers.tell(value.subject, value.type, value.data)
            lines.write(1)

    assert ingest is not None
    sys.argv = ["faust", "worker", "--without-web", "--loglevel", "error"]
    app.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
