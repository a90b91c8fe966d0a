"""`kehu parked`: messages that cannot apply yet: list and show them, try them now, or take them out of their queues."""

from datetime import datetime
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.messages import for_programs, print_message
from infra.cli.output import Csv, Json, Limit, Ndjson, print_json, print_rows, say, when
from infra.cli.servers import Postgres, connected
from infra.cli.who import By, who
from infra.operating.parked import NotParked, release
from infra.postgres import parked
from infra.remedies import meaning

Topic = Annotated[str | None, typer.Option(help="Only those that came by this topic.")]
Rule = Annotated[str | None, typer.Option(help="Only those that this rule holds.")]


def list_parked(
    postgres: Postgres = "",
    stream: Annotated[str | None, typer.Option(help="Only the queue of this stream, in its order.")] = None,
    topic: Topic = None,
    rule: Rule = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """What waits, since when, for what, and until when before it dies.

    Example: kehu parked list --topic kehu.surveys
    """
    now = bootstrap.now()
    with connected(postgres) as conn:
        print_rows(
            "Parked messages",
            parked.list_parked(conn, stream=stream, topic=topic, rule=rule, limit=limit or None),
            as_json,
            as_csv,
            as_ndjson,
            people=lambda row: _for_people(row, now),
            wide=("stream",),
            limit=limit,
        )


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
        found = parked.get_parked(conn, seq)
    if found is None:
        raise NotParked(str(seq))
    remedy = f"{meaning(found['rule'])} What has not come when it expires makes it a dead letter."
    if as_json:
        print_json(for_programs(found, remedy))
    else:
        print_message(f"Parked message {seq}", for_programs(found, remedy))


def retry_parked(
    streams: Annotated[list[str] | None, typer.Argument(metavar="STREAM…", help="Whose queues are tried.")] = None,
    postgres: Postgres = "",
    topic: Topic = None,
    rule: Rule = None,
    everything: Annotated[bool, typer.Option("--all", help="All queues.")] = False,
) -> None:
    """Have the oldest messages of queues tried now, and not at their next try. A running worker does it in a second.

    What the oldest one lets through follows it. It waits on when it still cannot apply: later messages keep their
    place. --topic and --rule choose by the oldest message.

    Example: kehu parked retry --rule survey-not-invited-yet
    """
    if bool(streams) + bool(topic or rule) + everything != 1:
        raise typer.BadParameter("say which: streams, or --topic, --rule, or --all", param_hint="STREAM")
    with connected(postgres) as conn:
        due = parked.retry_parked(conn, streams=streams or None, topic=topic, rule=rule)
    if missing := sorted(set(streams or ()) - set(due)):
        raise NotParked(", ".join(missing))
    say(f"{len(due)} queues are due now")


def release_parked(
    seqs: Annotated[list[int], typer.Argument(metavar="SEQ…", help="As `kehu parked list` shows them.")],
    reason: Annotated[str, typer.Option(help="Why they must not wait any longer.")],
    postgres: Postgres = "",
    by: By = "",
) -> None:
    """Take messages out of their queues: they become dead letters with the reason, and what waits behind them goes on.

    All of them or none. A released message can be replayed, as any dead letter.

    Example: kehu parked release 4 --reason "the invitation was deleted at its source"
    """
    with connected(postgres) as conn:
        number = release(conn, seqs, who(by), reason, bootstrap.now())
    say(f"{number} parked messages released")
