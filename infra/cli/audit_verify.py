"""`kehu audit verify`: whether the log is the one that was sealed, and what was done to it if it is not."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn, TimeRemainingColumn

from domain.audit import Finding
from domain.heads import Head
from infra import anchors, auditing, bootstrap, signing
from infra.auditing_inbox import inbox_findings
from infra.auditing_reads import reads_findings
from infra.cli.output import Csv, Json, Ndjson, print_json, print_rows, say
from infra.cli.progress import progress
from infra.cli.servers import OptionalKafka, Postgres, asked, require_told_kafka
from infra.errors import KehuError
from infra.kafka import heads as topic

Outside = dict[str, Sequence[Head]]
"""Where heads were told -> these heads."""


class Tampered(KehuError):
    """The log is not the one that was sealed. What does not fit is listed above."""


class OtherKey(KehuError):
    """Heads name a key that was not given, so it is not known who signed them. Give the public key that signed with
    --public-key, each of them when it changed. If the bank never had such a key, somebody else made these heads."""


class NothingSealed(KehuError):
    """Nothing of this log is sealed, so nothing is proven: anybody may have changed it. Seal it from now on, with
    KEHU_SEAL_KEY for a worker or `kehu audit seal`; where it was sealed, give heads told outside (--heads)."""

    exit_code = 4


def verify(
    postgres: Postgres = "",
    kafka: OptionalKafka = "",
    heads: Annotated[
        list[Path] | None, typer.Option(help="A file of heads that were told outside, as KEHU_ANCHOR_FILE; repeatable.")
    ] = None,
    from_topic: Annotated[
        bool, typer.Option("--from-topic", help="Take the heads of the topic kehu.heads as told outside, too.")
    ] = False,
    public_key: Annotated[
        list[Path] | None, typer.Option(help="A key that may have signed; repeatable when it changed.")
    ] = None,
    inbox: Annotated[bool, typer.Option(help="Whether the inbox is held against the events as well.")] = True,
    limit: Annotated[int, typer.Option(min=1, help="What does not fit is listed up to this number.")] = 20,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Walk the log against its tree and heads, and name the first event that was changed, removed, inserted or moved.

    Without heads that were told outside, whoever rewrote events, tree and heads together is not found. What stands
    behind a first event that does not fit is not certain. Exit code 1 when anything does not fit, 4 when nothing is
    sealed.

    Example: kehu audit verify --heads heads.jsonl --public-key seal.pub.pem
    """
    verifiers = [signing.verifier(one) for one in public_key or ()]
    outside: Outside = {str(file): anchors.read(file) for file in heads or ()}
    if from_topic:
        require_told_kafka(kafka)
        outside[f"topic {topic.HEADS}"] = asked(kafka, topic.read(kafka), seconds=60)
    told = [head for found in outside.values() for head in found]
    with auditing.snapshot(postgres, 3) as conns:
        checked_at, checked = bootstrap.now(), auditing.checked(conns[0])
        found = list(islice(_findings(conns, told, verifiers, checked.events, inbox), limit))
    rows = [
        {"kind": one.kind, "at": one.at or None, "through": one.through, "after": one.after, "what": one.text()}
        for one in found
    ]
    lines = list(_lines(checked, outside, verifiers))
    if as_json and not (as_csv or as_ndjson):
        about = _about(checked, outside, verifiers)
        print_json({"checked_at": checked_at, **about, "inbox_checked": inbox, "findings": rows})
    elif as_json or as_csv or as_ndjson or found:
        title = "What does not fit"
        print_rows(title, rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("what",), notes=lines)
    if found and all(one.kind == "unknown-key" for one in found):
        given = ", ".join(one.id for one in verifiers)
        raise OtherKey(f"{'; '.join(one.of for one in found)}; given: {given}")
    if found:
        raise Tampered(f"{found[0].text()}{' (and more)' if len(found) > 1 else ''}")
    if not checked.heads and not told:
        raise NothingSealed(f"{checked.events:,} events")
    if not (as_json or as_csv or as_ndjson):
        for line in lines:
            say(line)
        say("The log is the one that was sealed.", "green")


def _about(checked: auditing.Checked, outside: Outside, verifiers: Sequence[signing.Verifier]) -> dict[str, Any]:
    """What was checked, and by what, for whoever keeps it."""
    return {
        "events": checked.events,
        "sealed": checked.sealed,
        "heads": checked.heads,
        "first_head": checked.first and checked.first.as_json(),
        "last_head": checked.last and checked.last.as_json(),
        "told_outside": [
            {"where": where, "heads": len(heads), "up_to": max((head.size for head in heads), default=0)}
            for where, heads in outside.items()
        ],
        "witnessed": _witnessed(checked, outside),
        "signatures_checked": bool(verifiers),
        "public_keys": [one.id for one in verifiers],
    }


def _witnessed(checked: auditing.Checked, outside: Outside) -> int:
    """Up to which event somebody outside has a head."""
    return max((head.size for heads in outside.values() for head in heads if head.size <= checked.events), default=0)


def _lines(checked: auditing.Checked, outside: Outside, verifiers: Sequence[signing.Verifier]) -> Iterator[str]:
    """The same for people."""
    of = f", of {checked.first.size:,} to {checked.last.size:,} events" if checked.first and checked.last else ""
    number = sum(map(len, outside.values()))
    told = f"{number:,} told outside" if number else "none told outside: give --heads to be certain"
    yield f"{checked.events:,} events, {checked.sealed:,} of them sealed; {checked.heads:,} heads{of}; {told}"
    witnessed = _witnessed(checked, outside)
    if number and witnessed < checked.events:
        untold = f"{checked.events - witnessed:,} of {checked.events:,}"
        yield f"Events behind {witnessed:,} ({untold}) are in no head that was told outside: they have no witness."
    if verifiers:
        yield f"Signatures were checked with key {', '.join(one.id for one in verifiers)}."
    else:
        yield "Signatures were not checked: give --public-key to see that the bank made these heads."


def _for_people(row: dict[str, object]) -> dict[str, object]:
    return {"what": row["what"]}


def _findings(
    conns: "auditing.Snapshot", told: list[Head], verifiers: list[signing.Verifier], events: int, inbox: bool
) -> Iterator[Finding]:
    with progress(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("events", total=events)
        yield from auditing.log_findings(conns, told, verifiers, lambda walked: bar.advance(task, walked))
        if inbox:
            other = bar.add_task("inbox", total=events)
            yield from inbox_findings(conns[0], lambda walked: bar.advance(other, walked))
        yield from reads_findings(conns[0])
