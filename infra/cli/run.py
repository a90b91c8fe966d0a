"""`kehu setup`, `kehu worker`, `kehu demo`."""

from typing import Annotated

import psycopg
import typer

from infra import bootstrap, settings
from infra.cli.demo import run
from infra.cli.output import say
from infra.cli.servers import Kafka, Postgres, connected, require_kafka
from infra.errors import KehuError
from infra.kafka import faust_app
from infra.postgres.running_deadlines import unknown_presets
from infra.telling import tell_settings


class PresetsMissing(KehuError):
    """Open cases have presets that are not known here, and could not be decided on. Give this worker the folder
    `kehu_bank_rules` that has them.
    """

    exit_code = 2


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
    wanted = settings.read(postgres=postgres or None, kafka=kafka or None, group=group)
    require_presets(wanted.postgres)
    tell_settings(wanted.postgres, "worker", wanted, bootstrap.now())
    faust_app.run(bootstrap.worker(wanted))


def require_presets(postgres: str) -> None:
    """Raises PresetsMissing when open cases have presets that are not here.

    A store that is away or not set up, or a role that may not look, is left to the worker: it waits, or says so.
    """
    try:
        with connected(postgres) as conn:
            missing = unknown_presets(conn)
    except psycopg.Error:
        return
    if missing:
        raise PresetsMissing(", ".join(f"{name} version {version}" for name, version in missing))


def demo(
    events: Annotated[int, typer.Option(min=1, help="How many events the bank publishes.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bank.")] = 7,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the servers until Enter is pressed.")] = False,
) -> None:
    """Show the main job on throw-away servers: a bank publishes, a worker stores and folds, and the tables follow.

    Example: kehu demo --events 5000 --stay
    """
    run(events, seed, stay)
