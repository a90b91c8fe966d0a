"""The only place that joins everything: which store, which broker, which codec."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import faust
import structlog
from mode import Service

from consumers.dead_letter_publisher import DeadLetterPublisher
from consumers.deadline_watch import DeadlineWatch
from consumers.decoding import Decode, Decoded
from consumers.ingest import Ingest
from consumers.kafka_source import KafkaSource
from consumers.outcome import Outcomes
from consumers.patience import Servers
from consumers.polling import Polling
from consumers.projector import Projector
from consumers.projector_service import ProjectorService
from consumers.sealer import Anchor, Sealer, SealerService
from consumers.view_publisher import ViewPublisher
from domain import handling, registry
from domain.ports import EventLog, Message
from infra import signing
from infra.anchors import FileAnchor
from infra.failpoints import armed, reach
from infra.kafka import codec, raw
from infra.kafka.faust_app import build_app
from infra.kafka.heads import FOREVER, HEADS, TopicAnchor
from infra.kafka.limits import DEFAULT, Limits
from infra.kafka.topics import DEAD_LETTERS, TOPICS, Topics
from infra.kafka.views import COMPACTED, VIEW_TOPICS
from infra.master_keys import configured, development_file, is_for_development
from infra.metrics_server import MetricsServer
from infra.postgres.dead_letters import DeadLetterOutbox
from infra.postgres.holdings import Holdings
from infra.postgres.log import PostgresLog
from infra.postgres.migrate import migrate
from infra.postgres.observed import ObservedLog
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.running_deadlines import RunningDeadlines
from infra.postgres.seals import Seals
from infra.postgres.wake import Listener
from infra.settings import Accepted, Settings, WebhookSettings
from infra.telemetry import Telemetry
from infra.webhooks.addresses import networks
from projections.catalogue import ALL

log = structlog.get_logger("kehu.worker")


def now() -> datetime:
    """The clock of the running system, in UTC."""
    return datetime.now(UTC)


def limits(accepted: Accepted) -> Limits:
    """What the codec accepts."""
    return Limits(
        value_bytes=accepted.max_value_bytes,
        headers=accepted.max_headers,
        header_bytes=accepted.max_header_bytes,
        nesting=accepted.max_nesting,
        digits=accepted.max_digits,
        ahead=accepted.max_ahead,
        earliest=accepted.earliest,
    )


def decoder(clock: Callable[[], datetime] = now, limits: Limits = DEFAULT) -> Decode:
    """Reads messages as CloudEvents, with the identity, the content and the stream that the ingest asks for."""
    registry.check()

    def decode(message: Message) -> Decoded:
        fact = codec.decode(message, clock(), limits)
        return Decoded(message, fact, codec.identity(fact.meta), codec.content(fact), handling.stream_of(fact))

    def decode_marked(message: Message) -> Decoded:
        if any(name == "kehu-failpoint" for name, _ in message.headers):
            reach("marked")
        return decode(message)

    return decode_marked if armed("marked") else decode


def source(
    log: EventLog,
    settings: Settings,
    on_outcomes: Callable[[Outcomes], None] = lambda _outcomes: None,
    on_batch: Callable[[float, Mapping[str, int]], None] = lambda _seconds, _oldest: None,
    servers: Servers | None = None,
) -> KafkaSource:
    """The worker's ingest: from the topics into the log."""
    return KafkaSource(
        Ingest(
            log, decoder(limits=limits(settings)), now, park_for=settings.park_for, suspects=2 * settings.max_records
        ),
        bootstrap=settings.kafka,
        group=settings.group,
        topics=list(TOPICS.values()),
        admin=Topics(settings.kafka),
        raw=partial(raw.read, settings.kafka),
        max_records=settings.max_records,
        on_outcomes=on_outcomes,
        on_batch=on_batch,
        servers=servers,
    )


def setup(postgres: str, kafka: str, partitions: int = 4) -> tuple[list[str], list[str]]:
    """Make what is missing of schema, read-model tables and topics; the migrations that ran and the topics made."""
    done = migrate(postgres)
    models = PostgresReadModels(postgres)
    for projection in ALL:
        models.create(projection)
    models.close()
    admin = Topics(kafka)
    made = admin.create(list(TOPICS.values()), partitions=partitions) + admin.create([DEAD_LETTERS], partitions=1)
    made += admin.create(VIEW_TOPICS, partitions=partitions, settings=COMPACTED)
    made += admin.create([HEADS], partitions=1, settings=FOREVER)
    admin.close()
    return done, made


def anchors(file: Path | None, kafka: str | None) -> list[Anchor]:
    """Where heads are told: a file, and the topic of a broker."""
    return [*([FileAnchor(file)] if file else []), *([TopicAnchor(kafka)] if kafka else [])]


def sealing(settings: Settings, servers: Servers | None = None) -> tuple[Service, ...]:
    """What seals the log in a worker that has a key. Raises NotAKey."""
    if settings.seal_key is None:
        return ()
    places = anchors(settings.anchor_file, settings.kafka if settings.anchor_topic else None)
    at, sign = settings.postgres, signing.signer(settings.seal_key).sign
    sealer = Sealer(Seals(at), sign, places, now)
    wait = Listener(at).wait
    return (SealerService(sealer, settings.seal_every, wait, servers or Servers.of(settings.kafka)),)


def worker(settings: Settings) -> "faust.App":
    """What one worker process runs: ingest, projector, dead letters, clocks, views, seals, each on its own connection.

    With a port for metrics also what serves them and asks the store what it holds; raises NotServed when it is taken,
    and NoMasterKey where personal data could not be stored.
    """
    at, telemetry, servers = settings.postgres, Telemetry(TOPICS.values()), Servers.of(settings.kafka)
    configured(at)
    if is_for_development():
        log.warning("personal data is encrypted under a master key for development", file=str(development_file()))
    served: tuple[Service, ...] = ()
    if settings.metrics_port is not None:
        served = (
            MetricsServer(settings.metrics_host, settings.metrics_port, telemetry.registry),
            Polling(Holdings(at), telemetry.show, servers),
        )

    def services() -> tuple[Service, ...]:
        ingest = source(ObservedLog(at, telemetry), settings, on_batch=telemetry.batch, servers=servers)
        telemetry.ask(
            lambda: ingest.reading,
            {"postgresql": lambda: servers.store.away, "kafka": lambda: servers.broker.away},
        )
        projector = Projector(PostgresLog(at), PostgresReadModels(at), ALL)
        watch = DeadlineWatch(RunningDeadlines(at), settings.kafka, settings.report_missed_for, now, servers)
        return (
            *served,
            *([watch] if settings.report_missed_for else []),
            ingest,
            ProjectorService(projector, now, Listener(at).wait, servers),
            DeadLetterPublisher(DeadLetterOutbox(at), settings.kafka, servers, settings.unread_for),
            ViewPublisher(at, settings.kafka, Listener(at).wait, telemetry.published, servers),
            *sealing(settings, servers),
        )

    return build_app(settings.kafka, services)


def view_publisher(settings: Settings) -> "faust.App":
    """A process that publishes views and does nothing else."""
    at = settings.postgres
    return build_app(settings.kafka, lambda: (ViewPublisher(at, settings.kafka, Listener(at).wait),))


def webhook_delivery(settings: WebhookSettings) -> "faust.App":
    """A process that tells webhooks what changed. Raises WrongNetwork, and NoMasterKey, as nothing is signed then."""
    # Here, since no other command should wait until a client of HTTP is imported.
    from consumers.webhook_delivery import WebhookDelivery
    from infra.webhooks.sending import Sender

    at, own = settings.postgres, networks(settings.webhook_networks)
    configured(at)

    def services() -> tuple[Service, ...]:
        sender = Sender(own, settings.webhook_seconds)
        return (WebhookDelivery(at, sender, Listener(at).wait, now, Servers.of("-")),)

    return build_app("-", services)
