"""Read models in PostgreSQL over a log in memory that grows, and their builds."""

from contextlib import closing
from datetime import datetime

import psycopg

from consumers.projector import Projector
from domain.complaint import ComplaintDeadlineMissed, ComplaintOpened, ComplaintReopened, ComplaintResolved
from domain.contact import ContactEnded, ContactQueued, ContactStarted
from domain.customer import CustomerRegistered
from domain.survey import SurveyInvited, SurveyScored
from domain.values import Event
from infra.memory.log import MemoryLog
from infra.postgres import indexes
from infra.postgres.builds import Build, Builds
from infra.postgres.changes import Feed, connection
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL
from projections.declare import Projection
from projections.service_queues import SERVICE_QUEUES
from tests.support.builders import NOON
from tests.support.rows import recorded

QUEUES_BUILD = f"service_queues_v{SERVICE_QUEUES.version}"
"""The schema of the first build of the queues."""


class World:
    """Read models over a log that grows, and their builds."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.log = MemoryLog()
        self.models = PostgresReadModels(database)
        self.builds = Builds(database)
        self.connection = connection(database)
        self.feed = Feed(self.connection)
        for projection in ALL:
            self.models.create(projection)

    def close(self) -> None:
        self.models.close()
        self.builds.close()
        self.connection.close()

    def happens(self, *events: Event, customer: str = "c1") -> None:
        """Append events and fold them."""
        self.log.events += recorded(*events, customer=customer, after=self.log.head())
        self.fold()

    def fold(self) -> None:
        Projector(self.log, self.models, ALL).run_until_caught_up()

    def sweep(self, at: datetime) -> int:
        return Projector(self.log, self.models, ALL).sweep(at)

    def rebuilt(self, projection: Projection) -> Build:
        """A new build beside the live one, with the whole log."""
        build = self.builds.begin(projection)
        indexes.finish(self.database, [(projection, build)], 1)
        self.folded(projection, build)
        return build

    def folded(self, projection: Projection, build: Build) -> None:
        with closing(PostgresReadModels(self.database, [build])) as own:
            Projector(self.log, own, [projection]).run_until_caught_up()

    def switch(self, projection: Projection) -> None:
        """A new build becomes the live one."""
        assert self.builds.switch(projection, self.rebuilt(projection), "a test", None, NOON)

    def roll_back(self, projection: Projection) -> None:
        former = self.builds.of(projection.name)["former"]
        self.folded(projection, former)
        assert self.builds.switch(projection, self.builds.of(projection.name)["former"], "a test", None, NOON)

    def change(self, statement: str) -> None:
        """By hand, and without a trace."""
        with psycopg.connect(self.database, autocommit=True) as conn:
            conn.execute(statement.encode())


def arrives(number: int) -> list[Event]:
    invited = SurveyInvited(invitation_id=f"i{number}", metric="nps", scale=10, channel="app", branch=f"b{number % 5}")
    return [
        ContactQueued(contact_id=f"k{number}", queue="cards", channel="phone"),
        CustomerRegistered(kind="person") if number % 3 else invited,
    ]


def leaves(number: int) -> list[Event]:
    return [ContactStarted(contact_id=f"k{number}"), ContactEnded(contact_id=f"k{number}", resolved=True)]


def troubles(number: int) -> list[Event]:
    """What somebody shall see to: a deadline that was missed, and a customer who is likely to leave."""
    turned_down = ComplaintResolved(complaint_id=f"r{number}", outcome="rejected", reasons="r", onward_rights="o")
    return [
        ComplaintOpened(complaint_id=f"p{number}", channel="app", branch="north"),
        ComplaintDeadlineMissed(
            complaint_id=f"p{number}", clock="service", preset="service_default", preset_version=1, due_at=NOON
        ),
        ComplaintOpened(complaint_id=f"r{number}", channel="app"),
        turned_down,
        *[ComplaintReopened(complaint_id=f"r{number}", reason="not satisfied")] * 2,
        *_answers(number, 1),
    ]


def is_seen_to(number: int) -> list[Event]:
    """The end of such troubles."""
    decided = ComplaintResolved(complaint_id=f"p{number}", outcome="upheld", reasons="r", onward_rights="o")
    return [decided, *_answers(number, 5)]


def _answers(number: int, score: int) -> list[Event]:
    return [
        SurveyScored(
            invitation_id=f"{metric}{number}",
            metric=metric,
            scale=5 if metric == "csat" else 10,
            score=score if metric == "csat" else 2 * score,
            previous=None,
            channel="app",
            owner=None,
            invited_at=NOON,
        )
        for metric in ("csat", "nps")
    ]
