"""`kehu publish`: CloudEvents from a file to their topics, validated before anything is sent."""

import asyncio
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, TimeElapsedColumn

from infra import bootstrap, publishing, settings
from infra.cli.output import say
from infra.cli.progress import progress
from infra.cli.servers import OptionalKafka, require_told_kafka
from infra.errors import KehuError, Unreadable
from infra.kafka.producer import send

SHOWN = 5
"""How many wrong lines are told."""


class NothingSent(KehuError):
    """Lines are wrong and nothing was sent. Correct them and publish all again."""


def publish(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="CloudEvents as JSON lines; - for standard input.")],
    kafka: OptionalKafka = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate only; needs no broker.")] = False,
) -> None:
    """Validate CloudEvents and send them to their topics. Nothing is sent when one line is wrong.

    Example: kehu publish events.jsonl --kafka broker:9092
    """
    messages, wrong = [], []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            messages.append(checked(line.strip()))
        except Unreadable as error:
            wrong.append(f"line {number}: {error.rule}: {error.detail}")
    if wrong:
        more = f" (and {len(wrong) - SHOWN} more)" if len(wrong) > SHOWN else ""
        raise NothingSent("; ".join(wrong[:SHOWN]) + more)
    if not dry_run:
        require_told_kafka(kafka)
        with progress(MofNCompleteColumn(), TimeElapsedColumn(), transient=False) as bar:
            task = bar.add_task("publishing", total=len(messages))
            asyncio.run(send(kafka, messages, lambda n: bar.update(task, completed=n)))
    say(f"{len(messages)} events {'are valid' if dry_run else 'published'}")


def checked(line: bytes) -> tuple[str, bytes, bytes]:
    """Topic, key and value of a CloudEvent in JSON. Raises Unreadable when no worker would accept it."""
    one = publishing.checked(line, bootstrap.now(), bootstrap.limits(settings.accepted()))
    return one.topic, one.key, one.value
