"""`kehu dead-letters skip-unreadable`: past a batch that nobody can read, with its bytes and a reason kept."""

from typing import Annotated

import typer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from domain.administration import BatchSkipped
from domain.errors import Refused
from domain.ports import Fenced, Partition
from infra import bootstrap
from infra.cli.output import say
from infra.cli.servers import Kafka, Postgres, asked, connected, require_kafka
from infra.cli.who import By, tell, who
from infra.errors import KehuError, ServerUnavailable
from infra.kafka import raw
from infra.kafka.topics import Topics
from infra.postgres import dead_letters


class Skipped(Refused):
    """Nobody could read this batch, and an operator went past it. Ask its source to publish what was in it again."""


class NotStanding(KehuError):
    """The partition does not stand at this offset. `kehu doctor` and the worker's log tell where it stands."""


class NotDamaged(KehuError):
    """This batch can be read: the worker takes it by itself, and nothing was skipped."""


def skip_unreadable(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    number: Annotated[int, typer.Argument(metavar="PARTITION", min=0)],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0, help="Where the partition stands still.")],
    reason: Annotated[str, typer.Option(help="Why nothing else can be done.")],
    postgres: Postgres = "",
    kafka: Kafka = "",
    by: By = "",
) -> None:
    """Go past a damaged batch of messages, at which a partition stands still. A worker goes on behind it in seconds.

    Each of its messages becomes a dead letter with the reason; the first keeps the bytes of the whole batch. Refused
    when the batch can be read, and when the partition's position is another.

    Example: kehu dead-letters skip-unreadable kehu.surveys 0 1200 --reason "the disk of broker 2 was replaced"
    """
    require_kafka(kafka)
    topics = Topics(kafka)
    topic_id = topics.ids([topic])[topic]
    topics.close()
    if topic_id is None:
        raise NotStanding(f"topic {topic} does not exist")
    batch = _damaged(kafka, TopicPartition(topic, number), offset)
    partition = Partition(topic, topic_id, number)
    told = f"skipped by {who(by)}: {reason}"
    with connected(postgres) as conn:
        try:
            dead_letters.skip(
                conn, partition, range(offset, batch.following), batch.data, Skipped().rule, told, bootstrap.now()
            )
            done = BatchSkipped(
                by=who(by), reason=reason, topic=topic, partition=number, first=offset, following=batch.following
            )
            tell(conn, done)
        except Fenced as error:
            raise NotStanding(f"{topic}[{number}] is not at {offset}") from error
    say(f"{topic}[{number}] goes on at {batch.following}; {batch.following - offset} dead letters keep the reason")


def _damaged(kafka: str, tp: TopicPartition, offset: int) -> raw.Batch:
    """The batch there; raises NotDamaged when it can be read."""
    try:
        batch = asked(kafka, raw.batch_at(kafka, tp, offset))
        if batch is None:
            raise NotStanding(f"the broker has nothing at {offset}")
        batch.records(tp)
    except raw.Damaged:
        assert batch is not None
        return batch
    except OffsetOutOfRangeError:
        raise NotStanding(f"the broker has nothing at {offset}") from None
    except (KafkaError, OSError) as error:
        raise ServerUnavailable(f"Kafka at {kafka}: {error}") from error
    raise NotDamaged(f"{tp.topic}[{tp.partition}] at {offset}")
