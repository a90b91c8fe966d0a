"""`kehu audit`: make a key, seal the log, and prove what is in it to somebody who has no access to it."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from consumers.sealer import Sealer
from domain.heads import Head
from infra import bootstrap, signing
from infra.cli.output import Csv, Json, Limit, Ndjson, print_json, print_rows, say
from infra.cli.progress import counting
from infra.cli.servers import OptionalKafka, Postgres, require_told_kafka
from infra.errors import KehuError
from infra.postgres.seals import Seals

KeyFile = Annotated[
    Path, typer.Option("--key", envvar="KEHU_SEAL_KEY", help="The private key that heads are signed with.")
]
Size = Annotated[int | None, typer.Option("--size", min=1, help="In the head of this size, and not the newest.")]


class NotSealed(KehuError):
    """There is no such event or head, or it is not sealed yet. `kehu audit heads` lists what is; the worker seals."""


def key(out: Annotated[Path, typer.Option(help="The file of the private key; the public one goes beside it.")]) -> None:
    """Make a key that heads are signed with, in a new file, and its public half in another that may be given away.

    Example: kehu audit key --out seal.pem
    """
    made = signing.make(out)
    public = out.with_suffix(".pub.pem")
    signing.give(made.verifier, public)
    say(f"key {made.verifier.id}: {out} (keep it secret and safe), {public} (give it to whoever checks)")


def seal(
    key: KeyFile,
    postgres: Postgres = "",
    kafka: OptionalKafka = "",
    anchor: Annotated[
        Path | None, typer.Option(envvar="KEHU_ANCHOR_FILE", help="A file that heads are appended to.")
    ] = None,
    to_topic: Annotated[
        bool, typer.Option("--to-topic", envvar="KEHU_ANCHOR_TOPIC", help="Publish heads to kehu.heads as well.")
    ] = False,
) -> None:
    """Seal what came into the log since the last head. A worker with KEHU_SEAL_KEY does it by itself.

    Example: kehu audit seal --key seal.pem --anchor heads.jsonl
    """
    if to_topic:
        require_told_kafka(kafka)
    places = bootstrap.anchors(anchor, kafka if to_topic else None)
    with closing(Seals(postgres)) as seals:
        sealer = Sealer(seals, signing.signer(key).sign, places, bootstrap.now)
        with counting("sealing", seals.waiting()) as told:
            made = sealer.run_once(told)
        last = seals.last()
    say(f"heads made: {made}; events sealed: {last.size if last else 0:,}")


def heads(
    postgres: Postgres = "",
    after: Annotated[int, typer.Option(min=0, help="Only heads of more events.")] = 0,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """The signed heads of the tree, smallest first. As NDJSON it is a file that `kehu-verify --heads` takes.

    Example: kehu audit heads --after 100000 --ndjson
    """
    with closing(Seals(postgres)) as seals:
        rows = [head.as_json() for head in seals.heads(after, limit or None)]
    columns = Head.__struct_fields__
    print_rows("Heads", rows, as_json, as_csv, as_ndjson, people=_head_for_people, limit=limit, columns=columns)


def _head_for_people(row: dict[str, Any]) -> dict[str, Any]:
    root = f"{row['root'][:16]}…"
    return {"events": row["size"], "sealed at": row["sealed_at"][:19], "root": root, "key": row["key_id"]}


def prove(
    position: Annotated[int, typer.Argument(min=1, help="Of the event in the log.")],
    postgres: Postgres = "",
    size: Size = None,
) -> None:
    """A proof that an event is in the sealed log, as JSON that `kehu-verify` checks without this database.

    Example: kehu audit prove 1234 > proof.json
    """
    with closing(Seals(postgres)) as seals:
        head = head_of(seals, size)
        if head is None or head.size < position:
            raise NotSealed(f"position {position}" + (f" in a head of {size}" if size else ""))
        event, path = seals.prove(position, head)
    hashes = [one.hex() for one in path]
    print_json({"proof": "kehu inclusion v1", "event": event.as_json(), "head": head.as_json(), "path": hashes})


def consistency(
    earlier: Annotated[int, typer.Argument(min=1, help="Events of the earlier head.")],
    postgres: Postgres = "",
    size: Size = None,
) -> None:
    """A proof that a later head holds an earlier one unchanged, as JSON that `kehu-verify` checks.

    Example: kehu audit consistency 1000 > consistency.json
    """
    with closing(Seals(postgres)) as seals:
        old, new = seals.of_size(earlier), head_of(seals, size)
        if old is None or new is None or new.size < old.size:
            raise NotSealed(f"heads of {earlier} and {size or 'more'}")
        path = [one.hex() for one in seals.extension(old, new)]
    print_json({"proof": "kehu consistency v1", "earlier": old.as_json(), "later": new.as_json(), "path": path})


def head_of(seals: Seals, size: int | None) -> Head | None:
    """The head of a size, or the newest."""
    return seals.last() if size is None else seals.of_size(size)
