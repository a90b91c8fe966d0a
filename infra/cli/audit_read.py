"""`kehu audit stream` and `export`: the events themselves, to be read, or to be checked by somebody else."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from domain.administration import LogExported
from domain.heads import Head
from domain.merkle import Nodes, rest
from infra import auditing
from infra.cli.audit import NotSealed, Size, head_of
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows, say
from infra.cli.progress import TOLD_EVERY, counting
from infra.cli.reading import KnownAt
from infra.cli.servers import Postgres, connected
from infra.cli.times import Since, Until
from infra.cli.who import By, Reason, tell, who
from infra.errors import KehuError
from infra.postgres import tree
from infra.postgres.audited import Part, Wanted, as_sealed, part, stream_events
from infra.postgres.past import known_position
from infra.postgres.proving import StoredEvent
from infra.postgres.seals import Seals

EVENTS, REST, MANIFEST = "events.ndjson", "rest.txt", "manifest.json"


class NoSuchStream(KehuError):
    """The log has no events of this stream. `kehu trace ID` tells the stream of a message."""


class NothingChosen(KehuError):
    """No sealed event is chosen. Check the stream or customer, that --first is not behind --last nor --since behind
    --until, and `kehu audit heads`: what is newer than the head is not sealed yet."""

    exit_code = 2


class FolderIsThere(KehuError):
    """There is a file, or a folder that is not empty. Name a folder that is made anew."""

    exit_code = 2


class FolderNotWritten(KehuError):
    """The export cannot be written, and what was begun is taken away. Let this process write there and see that the
    disk has room, or name another folder."""


def stream(
    name: Annotated[str, typer.Argument(help="Of the stream, such as complaint-p-1.")],
    postgres: Postgres = "",
    event_type: Annotated[str | None, typer.Option("--type", help="With or without version.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only what this person did.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only what came through this channel.")] = None,
    since: Since = None,
    until: Until = None,
    known_at: KnownAt = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Every event of a stream as stored: position, version, actor, channel, times, what caused it, and what it says.

    --since and --until ask when it happened, --known-at when it was recorded.

    Example: kehu audit stream complaint-p-1 --ndjson
    """
    wanted = Wanted(event_type, since, until, known_at, actor, channel)
    with connected(postgres) as conn:
        if not conn.execute("SELECT FROM kehu.stored_events WHERE originator_id = %s LIMIT 1", (name,)).fetchall():
            raise NoSuchStream(name)
        rows = stream_events(conn, [name], wanted, limit or None)
        title = f"Stream {name}"
        print_rows(title, rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("says",), limit=limit)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    names = ("position", "version", "type", "happened_at", "recorded_at", "actor", "channel", "id", "causation_id")
    told = {name.removesuffix("_at").removesuffix("_id"): row[name] for name in names}
    return {**told, "says": {name: value for name, value in row["data"].items() if value is not None}}


def export(
    folder: Annotated[Path, typer.Argument(help="A new folder: events.ndjson, rest.txt and manifest.json.")],
    postgres: Postgres = "",
    stream: Annotated[str | None, typer.Option(help="Only of this stream.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only of this customer.")] = None,
    first: Annotated[int | None, typer.Option(min=1, help="From this position on.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Up to this position.")] = None,
    since: Since = None,
    until: Until = None,
    size: Size = None,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Events with a proof of all of them at once, which `kehu-verify export` checks without this database.

    --since and --until ask when events were recorded, and mean positions. The newest head is taken, or that of --size.
    That something was exported is told in the log, as an act. What is not as it was sealed is not exported.

    Example: kehu audit export complaint-p-1 --stream complaint-p-1
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderIsThere(str(folder))
    with closing(Seals(postgres)) as seals:
        head = head_of(seals, size)
    if head is None:
        raise NotSealed(f"head of {size}" if size else "no head")
    with auditing.snapshot(postgres, 2) as (rows, nodes):
        before = timedelta(microseconds=1)  # times are kept in microseconds
        if since is not None:
            first = max(first or 1, known_position(rows, since - before) + 1)
        if until is not None:
            last = min(head.size if last is None else last, known_position(rows, until - before))
        if first is not None or last is not None:
            last = min(head.size if last is None else last, head.size)
        of = Part(stream, customer, first, last)
        positions, everything = of.upto(head.size) - (of.first or 1) + 1, stream is None and customer is None
        events = part(rows, of, head.size)
        # Where all are asked for and there are none, they are gone: another error.
        found = [] if everything or positions < 1 else list(islice(events, 1))
        if positions < 1 or not (everything or found):
            said = {**of.as_json(), "since": since, "until": until, "head": head.size}
            raise NothingChosen(", ".join(f"{name} {value}" for name, value in said.items() if value is not None))
        act = LogExported(by=who(by), reason=reason, head=head.size, **of.as_json())
        with _whole(folder):
            with connected(postgres) as conn:
                tell(conn, act)
            with counting("events", positions if everything else None) as told:
                number = _write(folder, _told(chain(found, events), told), of, head, tree.nodes(nodes))
    say(f"{number:,} events in {folder}, proven by the head of {head.size:,}")


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Make a folder, and take away what is in it when it does not become whole: it would look like an export.

    Raises FolderNotWritten.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for name in (EVENTS, REST, MANIFEST):
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        if made:
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise FolderNotWritten(f"{error.filename or folder}: {error.strerror}") from error
        raise


def _told(events: Iterable[StoredEvent], told: Callable[[int], None]) -> Iterator[StoredEvent]:
    for number, event in enumerate(events, 1):
        yield event
        if number % TOLD_EVERY == 0:
            told(TOLD_EVERY)


def _write(folder: Path, events: Iterable[StoredEvent], of: Part, head: Head, nodes: Nodes) -> int:
    """Write events and what proves them, the manifest last; how many there were. Raises NotAsSealed."""
    number = 0
    with (folder / EVENTS).open("wb") as told, (folder / REST).open("w") as others:

        def indices() -> Iterator[int]:
            nonlocal number
            for event in as_sealed(events, of, head, nodes):
                number += 1
                told.write(orjson.dumps(event.as_json()) + b"\n")
                yield event.position - 1

        for one in rest(indices(), head.size, nodes):
            others.write(one.hex() + "\n")
    manifest = {"export": "kehu export v1", "of": of.as_json(), "events": number, "head": head.as_json()}
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return number
