"""`kehu publish`: CloudEvents from a file to their topics, validated before anything is sent."""

import asyncio
from typing import Annotated

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from domain.ports import Message, Partition
from infra import bootstrap, settings
from infra.cli.output import console, say
from infra.cli.servers import OptionalKafka, require_told_kafka
from infra.errors import KehuError, Unreadable
from infra.kafka import codec
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
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console(stderr=True)) as progress:
            task = progress.add_task("publishing", total=len(messages))
            asyncio.run(send(kafka, messages, lambda n: progress.update(task, completed=n)))
    say(f"{len(messages)} events {'are valid' if dry_run else 'published'}")


def checked(line: bytes) -> tuple[str, bytes, bytes]:
    """Topic, key and value of a CloudEvent in JSON. Raises Unreadable when no worker would accept it."""
    try:
        said = orjson.loads(line)
        kind, subject = str(said["type"]), str(said["subject"])
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Unreadable("bad-json", f"not one CloudEvent as a JSON object: {error}") from None
    except KeyError as error:
        raise Unreadable("bad-envelope", f"the attribute {error} is missing") from None
    known = codec.readable().get(kind)
    topic = known[2] if known else ""
    key = subject.encode()
    codec.decode(
        Message(Partition(topic, "", 0), 0, 0, key, line), bootstrap.now(), bootstrap.limits(settings.accepted())
    )
    return topic, key, line
