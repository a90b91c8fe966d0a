"""`kehu parked`: messages that cannot apply yet, in the order of their next try."""

from datetime import datetime
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.messages import for_programs, meaning, print_message
from infra.cli.output import Csv, Json, Limit, print_json, print_rows, when
from infra.cli.servers import Postgres, connected
from infra.errors import KehuError
from infra.postgres import ops


class NotParked(KehuError):
    """No message waits under this number: it may have been applied, or died. `kehu parked list` shows what waits."""


def list_parked(
    postgres: Postgres = "",
    stream: Annotated[str | None, typer.Option(help="Only the queue of this stream, in its order.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only those that came by this topic.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only those that this rule holds.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """What waits, since when, for what, and until when before it dies.

    Example: kehu parked list --topic kehu.surveys
    """
    with connected(postgres) as conn:
        rows = ops.list_parked(conn, stream=stream, topic=topic, rule=rule, limit=limit)
    now = bootstrap.now()
    print_rows("Parked messages", rows, as_json, as_csv, people=lambda row: _for_people(row, now), wide=("stream",))


def _for_people(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    times = {
        "parked": row["parked_at"],
        "next try": when(row["next_try_at"], now),
        "dies": when(row["expires_at"], now),
    }
    return {"seq": row["seq"], "rule": row["rule"], "tries": row["tries"], **times, "stream": row["stream"]}


def show_parked(
    seq: Annotated[int, typer.Argument(metavar="SEQ")], postgres: Postgres = "", as_json: Json = False
) -> None:
    """One waiting message: its headers and its body, what it waits for, and the remedy.

    Example: kehu parked show 4
    """
    with connected(postgres) as conn:
        found = ops.get_parked(conn, seq)
    if found is None:
        raise NotParked(str(seq))
    remedy = f"{meaning(found['rule'])} What has not come when it expires makes it a dead letter."
    if as_json:
        print_json(for_programs(found, remedy))
    else:
        print_message(f"Parked message {seq}", for_programs(found, remedy))
