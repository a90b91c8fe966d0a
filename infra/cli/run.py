"""`kehu setup`, `kehu worker`, `kehu demo`."""

from typing import Annotated

import typer

from infra import bootstrap, settings
from infra.cli.demo import run
from infra.cli.output import say
from infra.cli.servers import Kafka, Postgres, require_kafka
from infra.kafka import faust_app


def setup(
    postgres: Postgres = "",
    kafka: Kafka = "",
    partitions: Annotated[int, typer.Option(min=1, help="Of topics that are made.")] = 4,
) -> None:
    """Make schema, read-model tables and topics; running it again changes nothing.

    Example: kehu setup --postgres "host=db dbname=kehu" --kafka broker:9092
    """
    require_kafka(kafka)
    done, made = bootstrap.setup(postgres, kafka, partitions)
    say(f"schema: {', '.join(done) or 'up to date'}; topics made: {', '.join(made) or 'none, all exist'}")


def worker(
    postgres: Postgres = "",
    kafka: Kafka = "",
    group: Annotated[
        str | None, typer.Option(help="Consumer group; workers of one group share the partitions. Default: kehu.")
    ] = None,
) -> None:
    """Read the topics into the event store and keep the read models up, until SIGTERM.

    Example: kehu worker --postgres "host=db dbname=kehu" --kafka broker:9092
    """
    faust_app.run(bootstrap.worker(settings.read(postgres=postgres or None, kafka=kafka or None, group=group)))


def demo(
    events: Annotated[int, typer.Option(min=1, help="How many events the bank publishes.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bank.")] = 7,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the servers until Enter is pressed.")] = False,
) -> None:
    """Show the main job on throw-away servers: a bank publishes, a worker stores and folds, and the tables follow.

    Example: kehu demo --events 5000 --stay
    """
    run(events, seed, stay)
