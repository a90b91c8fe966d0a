"""`kehu`: set up the schema and topics, run the worker, publish events, and show what became of them."""

import asyncio
import os
import sys
from typing import Annotated, Any

import orjson
import psycopg
import typer
from psycopg.rows import dict_row
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from domain import registry
from domain.errors import DomainError
from domain.ports import Message, Partition
from infra import bootstrap, settings
from infra.cli.demo import Demo
from infra.errors import KehuError, Unreadable
from infra.kafka import codec, faust_app
from infra.kafka.producer import send
from infra.kafka.topics import topic_of
from infra.postgres import ops
from projections.satisfaction import DAILY, DIMENSIONS, Summary, summarise

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
events = typer.Typer(no_args_is_help=True, help="The contract with the channels.")
show = typer.Typer(no_args_is_help=True, help="What is stored.")
dead_letters = typer.Typer(no_args_is_help=True, help="Messages that can never apply, with the rule that refused them.")
app.add_typer(events, name="events")
app.add_typer(show, name="show")
app.add_typer(dead_letters, name="dead-letters")
console = Console()

Postgres = Annotated[str, typer.Option(envvar="KEHU_POSTGRES", help="PostgreSQL connection string")]
Kafka = Annotated[str, typer.Option(envvar="KEHU_KAFKA", help="Kafka bootstrap servers, host:port")]
Json = Annotated[bool, typer.Option("--json", help="for programs")]


@app.command()
def setup(postgres: Postgres, kafka: Kafka, partitions: int = 4) -> None:
    """Make schema, read-model tables and topics; running it again changes nothing.

    Example: kehu setup --postgres "host=db dbname=kehu" --kafka broker:9092
    """
    done, made = bootstrap.setup(postgres, kafka, partitions)
    console.print(f"schema: {', '.join(done) or 'up to date'}; topics made: {', '.join(made) or 'none, all exist'}")


@app.command()
def worker(postgres: Postgres, kafka: Kafka, group: str | None = None) -> None:
    """Read the topics into the event store and keep the read models up, until SIGTERM.

    Example: kehu worker --postgres "host=db dbname=kehu" --kafka broker:9092
    """
    faust_app.run(bootstrap.worker(settings.read(postgres=postgres, kafka=kafka, group=group)))


@app.command()
def demo(events: int = 20_000, seed: int = 7, stay: Annotated[bool, typer.Option("--stay")] = False) -> None:
    """Show the main job on throw-away servers: a bank publishes, a worker stores and folds, and the tables follow.

    Example: kehu demo --events 5000 --stay
    """
    with Demo(console) as running:
        bank = running.publish(events, seed)
        known = bank.expected
        console.print(f"The bank knows: {known.published} published, {known.duplicates} of them repeated.")
        reconciliation(running.postgres)
        satisfaction(running.postgres)
        for row in _query(running.postgres, "SELECT customer_id FROM kehu.customer_timeline GROUP BY 1 LIMIT 1"):
            customer(row["customer_id"], running.postgres, limit=8)
        if stay:
            console.print(f"--postgres '{running.postgres}' --kafka {running.kafka}; press Enter to stop")
            sys.stdin.readline()


@app.command()
def publish(
    file: Annotated[typer.FileBinaryRead, typer.Argument(help="CloudEvents as JSON lines; - for standard input")],
    kafka: Kafka,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="validate only")] = False,
) -> None:
    """Validate CloudEvents and send them to their topics. Nothing is sent when one line is wrong.

    Example: kehu publish events.jsonl --kafka broker:9092
    """
    messages, wrong = [], []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            messages.append(_checked(line.strip()))
        except Unreadable as error:
            wrong.append(f"line {number}: {error.rule}: {error.detail}")
    if wrong:
        more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
        raise Unreadable("nothing sent", "; ".join(wrong[:5]) + more)
    if not dry_run:
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("publishing", total=len(messages))
            asyncio.run(send(kafka, messages, lambda n: progress.update(task, completed=n)))
    console.print(f"{len(messages)} events {'are valid' if dry_run else 'published'}")


@events.command()
def catalog(as_json: Json = False) -> None:
    """Every event: stored name, version, topic, and whether a channel may publish it.

    Example: kehu events catalog
    """
    codec.types()
    rows = [
        {"name": r.name, "version": r.version, "topic": topic_of(r.name), "published": r.published}
        for r in registry.all_registrations()
    ]
    _print("Events", rows, as_json)


@show.command()
def reconciliation(postgres: Postgres, as_json: Json = False) -> None:
    """For each topic: messages read = appended + duplicate + parked + dead, beside an independent count of the tables.

    Example: kehu show reconciliation --json
    """
    with _connected(postgres) as conn:
        rows = ops.reconciliation(conn)
    for row in rows:
        row["balanced"] = row["balanced"] and row["offsets"] == row["read"]
    if as_json:
        _print("Reconciliation", rows, as_json)
    else:
        reasons = [{"topic": r["topic"], "rule": k, "dead": n} for r in rows for k, n in r["dead_by_rule"].items()]
        _print("Reconciliation", [{k: r[k] for k in _OUTCOMES} for r in rows], as_json)
        _print("Why messages died", reasons, as_json)
    if not all(row["balanced"] for row in rows):
        raise KehuError("the outcomes do not add up to what was read")


@show.command()
def satisfaction(postgres: Postgres, by: str = "channel", as_json: Json = False) -> None:
    """CSAT, NPS and CES with their 95 % intervals, and the response rate; suppressed below ten answers.

    Example: kehu show satisfaction --by branch
    """
    if by not in DIMENSIONS:
        raise KehuError(f"--by {by}: use {', '.join(DIMENSIONS)}")
    # Added up in the database, so that no more than a row per group is read.
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in DAILY.columns)
    query = f"SELECT metric, scale, {by}, {sums} FROM kehu.satisfaction_daily GROUP BY metric, scale, {by}"  # noqa: S608
    summaries = sorted(summarise(_query(postgres, query), by=(by,)), key=lambda s: (s.metric, s.scale, s.group))
    hidden = () if as_json else ("method", "bounced")
    rows = [{k: v for k, v in _shown(by, one).items() if k not in hidden} for one in summaries]
    _print("Satisfaction", rows, as_json)


@show.command()
def customer(customer_id: str, postgres: Postgres, limit: int = 50, as_json: Json = False) -> None:
    """Everything that happened with one customer, newest first.

    Example: kehu show customer c-1001
    """
    query = (
        "SELECT * FROM kehu.customer_timeline WHERE customer_id = %s ORDER BY occurred_at DESC, position DESC LIMIT %s"
    )
    rows = _query(postgres, query, customer_id, limit)
    shown = rows if as_json else [{"when": f"{r['occurred_at']:%Y-%m-%d %H:%M}", "what": r["summary"]} for r in rows]
    _print(f"Customer {customer_id}", shown, as_json)


@dead_letters.command("list")
def list_dead_letters(postgres: Postgres, rule: str | None = None, limit: int = 50, as_json: Json = False) -> None:
    """The newest dead letters, all or those of one rule.

    Example: kehu dead-letters list --rule bad-json
    """
    with _connected(postgres) as conn:
        letters = ops.list_dead_letters(conn, rule=rule, limit=limit)
    _print("Dead letters", [{name: letter[name] for name in _LETTER} for letter in letters], as_json)


_LETTER = ("id", "topic", "partition", "kafka_offset", "rule", "detail", "source", "event_id", "died_at")


def _checked(line: bytes) -> tuple[str, bytes, bytes]:
    try:
        said = orjson.loads(line)
        kind, subject = str(said["type"]), str(said["subject"])
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise Unreadable("bad-json", f"a CloudEvent as one JSON object is expected: {error}") from None
    known = codec.types().get(kind)
    topic = topic_of(known.name) if known else ""
    key = subject.encode()
    codec.decode(Message(Partition(topic, "", 0), 0, 0, key, line), bootstrap.now())
    return topic, key, line


_OUTCOMES = ("topic", "read", "appended", "duplicate", "parked", "dead", "balanced")


def _shown(by: str, of: Summary) -> dict[str, object]:
    measure, rate = of.measure, of.response_rate
    value, low, high = (round(x, 3) for x in (measure.value, measure.low, measure.high)) if measure else (None,) * 3
    return {
        "metric": of.metric,
        "scale": of.scale,
        by: of.group[0],
        "invited": of.invited,
        "bounced": of.bounced,
        "answered": of.answered,
        "score": value,
        "low": low,
        "high": high,
        "method": measure.method if measure else "too few answers",
        "response": None if rate is None else round(rate, 3),
    }


def _connected(postgres: str) -> "psycopg.Connection[dict[str, Any]]":
    return psycopg.connect(postgres, row_factory=dict_row, connect_timeout=5)


def _query(postgres: str, query: str, *values: object) -> list[dict[str, Any]]:
    with _connected(postgres) as conn:
        return conn.execute(query.encode(), values or None).fetchall()


def _print(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(rows, default=str).decode() + os.linesep)
        return
    table = Table(*(rows[0] if rows else ["nothing yet"]), title=title)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)


def main() -> None:
    """Run the command line; an error is one line with its remedy and a non-zero exit code."""
    try:
        app()
    except (KehuError, DomainError) as error:
        sys.stderr.write(f"kehu: {error}\n")
        sys.exit(getattr(error, "exit_code", 1))
    except psycopg.Error as error:
        sys.stderr.write(f"kehu: PostgreSQL: {str(error).strip()}. Check --postgres, and run `kehu setup`.\n")
        sys.exit(3)
