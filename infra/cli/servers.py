"""Where the servers are, and connections to them that answer or fail within seconds."""

import asyncio
import socket
from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, TypeVar

import psycopg
import typer
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from infra.errors import KehuError, ServerUnavailable
from infra.kafka.topics import TOPICS, Topics, extents

T = TypeVar("T")
Connection = psycopg.Connection[dict[str, Any]]
Held = Mapping[str, tuple[str, Mapping[int, int]]]
"""Topic -> its id, and for each partition the offset that the next message will get."""
SECONDS = 5
"""How long a server may take to answer."""


class NotTold(KehuError):
    """Where is the server?"""

    exit_code = 2


def _given(context: typer.Context, param: typer.CallbackParam, value: str) -> str:
    """The option as given to this command, or before it (`kehu --postgres … show queues`), or by the environment."""
    root, name = context.find_root(), str(param.name)
    before = str(root.params.get(name) or "")
    return value if value and (_is_typed(context, name) or not _is_typed(root, name)) else before


def _is_typed(context: Any, name: str) -> bool:
    """Whether an option stands in the command line, and is not from the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _postgres(context: typer.Context, param: typer.CallbackParam, value: str) -> str:
    given = _given(context, param, value)
    if not given:
        return ""
    try:
        return make_conninfo(given, **({} if "connect_timeout" in given else {"connect_timeout": SECONDS}))
    except psycopg.ProgrammingError as error:
        raise NotTold(f'--postgres: {str(error).strip()}; write it like "host=db dbname=kehu user=kehu"') from error


def _required_postgres(context: typer.Context, param: typer.CallbackParam, value: str) -> str:
    if not (given := _postgres(context, param, value)) and not context.resilient_parsing:
        raise NotTold('PostgreSQL: give --postgres "host=db dbname=kehu" or set KEHU_POSTGRES')
    return given


def _required_kafka(context: typer.Context, param: typer.CallbackParam, value: str) -> str:
    if not (given := _given(context, param, value)) and not context.resilient_parsing:
        raise NotTold("Kafka: give --kafka host:9092 or set KEHU_KAFKA")
    return given


_POSTGRES = "PostgreSQL connection string."
_KAFKA = "Kafka bootstrap servers, host:port."
AnyPostgres = Annotated[str, typer.Option("--postgres", envvar="KEHU_POSTGRES", help=_POSTGRES, show_default=False)]
AnyKafka = Annotated[str, typer.Option("--kafka", envvar="KEHU_KAFKA", help=_KAFKA, show_default=False)]
Postgres = Annotated[
    str,
    typer.Option("--postgres", envvar="KEHU_POSTGRES", help=_POSTGRES, show_default=False, callback=_required_postgres),
]
Kafka = Annotated[
    str, typer.Option("--kafka", envvar="KEHU_KAFKA", help=_KAFKA, show_default=False, callback=_required_kafka)
]
OptionalPostgres = Annotated[
    str, typer.Option("--postgres", envvar="KEHU_POSTGRES", help=_POSTGRES, show_default=False, callback=_postgres)
]
OptionalKafka = Annotated[
    str, typer.Option("--kafka", envvar="KEHU_KAFKA", help=_KAFKA, show_default=False, callback=_given)
]


def connected(postgres: str) -> Connection:
    """A connection whose rows are dictionaries and whose times are in UTC."""
    options = "-c timezone=UTC -c search_path=kehu"
    return psycopg.connect(postgres, row_factory=dict_row, application_name="kehu-cli", options=options)


def require_kafka(kafka: str) -> None:
    """Raises ServerUnavailable, within seconds, when none of the bootstrap servers takes a connection."""
    told = ""
    for address in kafka.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit():
            raise NotTold(f"--kafka {kafka}: write it like host:9092")
        try:
            socket.create_connection((host, int(port)), SECONDS).close()
        except OSError as error:
            told = str(error)
        else:
            return
    raise ServerUnavailable(f"Kafka at {kafka}: {told}")


def require_told_kafka(kafka: str) -> None:
    """The same for a command that --dry-run spares a broker. Raises NotTold, too."""
    if not kafka:
        raise NotTold("Kafka: give --kafka host:9092 or set KEHU_KAFKA; --dry-run needs none")
    require_kafka(kafka)


def held(kafka: str) -> Held:
    """What the broker has of the topics that exist. Raises ServerUnavailable, within seconds, when it is away."""
    names = list(TOPICS.values())
    require_kafka(kafka)
    # First the question that has a limit: the administration waits half a minute for a server that only listens.
    ends = asked(kafka, extents(kafka, names))
    admin = Topics(kafka)
    try:
        ids = admin.ids(names)
    finally:
        admin.close()
    return {
        name: (topic_id, {tp.partition: extent.following for tp, extent in ends.items() if tp.topic == name})
        for name, topic_id in ids.items()
        if topic_id is not None
    }


def asked(kafka: str, question: Awaitable[T], seconds: float = 2 * SECONDS) -> T:
    """The answer of the broker. Raises ServerUnavailable when it takes too long."""

    async def ask() -> T:
        return await asyncio.wait_for(question, seconds)

    try:
        return asyncio.run(ask())
    except TimeoutError:
        raise ServerUnavailable(f"Kafka at {kafka}: no answer within {seconds:.0f} s") from None
