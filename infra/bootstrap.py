"""The only place that joins everything: which store, which broker, which codec."""

from collections.abc import Callable
from datetime import UTC, datetime

from consumers.ingest import Decode, Decoded, Ingest
from consumers.kafka_source import KafkaSource
from consumers.outcome import Outcomes
from domain import handling, registry
from domain.ports import EventLog, Message
from infra.kafka import codec
from infra.kafka.topics import TOPICS, Topics


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
        topic_ids=Topics(bootstrap).ids,
        on_outcomes=on_outcomes,
    )
