"""The only place that joins everything: which store, which broker, which codec."""

from collections.abc import Callable
from datetime import UTC, datetime

from consumers.ingest import Decode, Decoded, Ingest
from consumers.kafka_source import KafkaSource
from consumers.outcome import Outcomes
from consumers.projector import Projector
from consumers.projector_service import ProjectorService
from domain import handling, registry
from domain.ports import EventLog, Message
from infra.kafka import codec
from infra.kafka.topics import TOPICS, Topics
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.read_models import PostgresReadModels
from projections.catalogue import ALL


def now() -> datetime:
    """The clock of the running system, in UTC."""
    return datetime.now(UTC)


def decoder(clock: Callable[[], datetime] = now, limits: codec.Limits = codec.Limits()) -> Decode:  # noqa: B008
    """Reads messages as CloudEvents, with the identity, the content and the stream that the ingest asks for."""
    registry.check()

    def decode(message: Message) -> Decoded:
        fact = codec.decode(message, clock(), limits)
        return Decoded(message, fact, codec.identity(fact.meta), codec.content(fact), handling.stream_of(fact))

    return decode


def source(
    log: EventLog, bootstrap: str, group: str, on_outcomes: Callable[[Outcomes, float], None] = lambda _o, _s: None
) -> KafkaSource:
    """The worker's ingest: from the topics at `bootstrap` into the log."""
    return KafkaSource(
        Ingest(log, decoder(), now),
        bootstrap=bootstrap,
        group=group,
        topics=list(TOPICS.values()),
        admin=Topics(bootstrap),
        on_outcomes=on_outcomes,
    )


def setup(postgres: str, kafka: str, partitions: int = 4) -> tuple[list[str], list[str]]:
    """Make what is missing of schema, read-model tables and topics; the migrations that ran and the topics made."""
    done = migrate(postgres)
    models = PostgresReadModels(postgres)
    for projection in ALL:
        models.create(projection)
    models.close()
    admin = Topics(kafka)
    made = admin.create(list(TOPICS.values()), partitions=partitions)
    admin.close()
    return done, made


def worker(postgres: str, kafka: str, group: str) -> tuple[KafkaSource, ProjectorService]:
    """What one worker process runs: the ingest and the projector, each with connections of its own."""
    projector = Projector(PostgresLog(postgres), PostgresReadModels(postgres), ALL)
    return source(PostgresLog(postgres), kafka, group), ProjectorService(projector, now)
