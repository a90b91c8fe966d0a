"""`kehu verify`: one verdict on the code itself, for CI; needs no server."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from domain import registry
from domain.errors import DomainError
from domain.ports import Message, Partition
from infra import bootstrap
from infra.cli.events import every_event
from infra.cli.output import Csv, Json, Ndjson, print_rows
from infra.cli.servers import OptionalPostgres
from infra.errors import KehuError, Unreadable
from infra.kafka import codec, contracts
from infra.postgres import migrate
from infra.postgres.mapper import to_recorded
from projections.catalogue import ALL

ROOT = Path(__file__).parents[2]
GOLDEN = Path("tests") / "data" / "events"
MIGRATION = re.compile(r"(\d{4})_(pre|post)_[a-z0-9_]+")
META = {"id": "e1", "source": "/verify", "customer": "c1", "at": "2026-03-02T12:00:00+00:00"}


class NotVerified(KehuError):
    """The code contradicts itself or its contracts. See the checks above."""


class NotACheckout(KehuError):
    """Released contracts and examples are not here. Run `kehu verify` from a checkout."""


def verify(
    postgres: OptionalPostgres = "", as_json: Json = False, as_csv: Csv = False, as_ndjson: Ndjson = False
) -> None:
    """One verdict for CI: contracts, registry, upcasters, stored examples of every event, projections, migrations.

    Needs no server; with --postgres it also asks whether migrations are pending. Exit code 1 when a check fails.

    Example: kehu verify --json
    """
    if not (ROOT / contracts.REFERENCE).is_dir() or not (ROOT / GOLDEN).is_dir():
        raise NotACheckout(str(ROOT))
    rows = [_result(name, list(problems())) for name, problems in CHECKS.items()]
    if postgres:
        pending = [f"{name} has not run: run `kehu setup`" for name in migrate.pending(postgres)]
        rows.append(_result("migrations have run", pending))
    print_rows("Verify", rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("problems",))
    failed = [row["check"] for row in rows if row["verdict"] != "ok"]
    if failed:
        raise NotVerified(", ".join(failed))


def _result(check: str, problems: list[str]) -> dict[str, Any]:
    return {"check": check, "verdict": "wrong" if problems else "ok", "problems": problems}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "problems": "\n".join(row["problems"]) or None}


def _stale_contracts() -> Iterator[str]:
    for path in contracts.stale(ROOT / contracts.REFERENCE):
        yield f"{contracts.REFERENCE / path} differs from the models: run `python -m infra.kafka.contracts`"


def _stale_openapi() -> Iterator[str]:
    from infra.http import openapi  # here, since no other command should wait until a web server is imported

    if openapi.stale(ROOT):
        yield f"{openapi.FILE} differs from the endpoints: run `python -m infra.http.openapi`"


def _broken_contracts() -> Iterator[str]:
    for change in contracts.broken(ROOT / contracts.REFERENCE):
        yield f"{change}: register a new version with an upcaster instead"


def _registry() -> Iterator[str]:
    codec.types()
    try:
        registry.check()
    except DomainError as error:
        yield str(error)


def _golden() -> Iterator[str]:
    """One example of every version, as stored and as published, that is still read."""
    files = {path.name.removesuffix(".json"): path for path in sorted((ROOT / GOLDEN).glob("*.json"))}
    wanted = {f"{r['name']}.v{v}" for r in every_event() for v in range(1, r["version"] + 1)}
    for topic in sorted(wanted - files.keys()):
        yield f"{topic} has no example: add {GOLDEN / topic}.json"
    for topic in sorted(files.keys() - wanted):
        yield f"{GOLDEN / topic}.json is of no registered event: released events stay registered"
    for topic in sorted(files.keys() & wanted):
        event = orjson.loads(files[topic].read_bytes())
        try:
            to_recorded("stream", 1, topic, orjson.dumps({"meta": META, "data": event["data"]}))
            if "type" in event:
                _, _, kafka_topic = codec.readable()[event["type"]]
                value, key = orjson.dumps(event), event["subject"].encode()
                codec.decode(Message(Partition(kafka_topic, "", 0), 0, 0, key, value), bootstrap.now())
        except (ValueError, KeyError, DomainError, Unreadable) as error:
            yield f"{topic} is no longer read: {' '.join(str(error).split())}"


def _projections() -> Iterator[str]:
    known = {row["name"] for row in every_event()}
    for projection in ALL:
        for name in sorted(projection.handles - known):
            yield f"{projection.name} handles {name}, which is not registered"
    for row in every_event():
        if row["published"] and not row["consumers"]:
            yield f"{row['name']} is published and no projection handles it"


def _migrations() -> Iterator[str]:
    # There may be gaps: who works on something else meanwhile leaves room, and a released name never changes.
    taken: dict[str, str] = {}
    for path in migrate.files():
        named = MIGRATION.fullmatch(path.stem)
        if named is None:
            yield f"{path.name}: name it NNNN_pre_what.sql or NNNN_post_what.sql"
        elif (other := taken.setdefault(named[1], path.name)) != path.name:
            yield f"{path.name} has the number of {other}: give it the next one"


CHECKS: dict[str, Callable[[], Iterator[str]]] = {
    "the generated contracts are up to date": _stale_contracts,
    "the OpenAPI document is up to date": _stale_openapi,
    "released contracts are kept": _broken_contracts,
    "every version has the upcasters it needs": _registry,
    "an example of every version is still read": _golden,
    "projections handle what is registered": _projections,
    "migrations are named and numbered": _migrations,
}
