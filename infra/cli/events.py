"""`kehu events`: the contract with the channels."""

from typing import Annotated, Any

import typer

from domain import registry, upcasts
from domain.administration import Act
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows
from infra.kafka import codec
from infra.kafka.topics import topic_of
from projections.catalogue import ALL


def catalog(
    topic: Annotated[str | None, typer.Option(help="Only events of this topic.")] = None,
    consumer: Annotated[str | None, typer.Option(help="Only events that this projection handles.")] = None,
    published: Annotated[
        bool | None, typer.Option("--published/--derived", help="Only what channels publish, or only what follows.")
    ] = None,
    limit: Limit = 1000,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Every event: stored name, version, topic, whether channels publish it, its upcasters, and who consumes it.

    Example: kehu events catalog --consumer retention_risk
    """
    rows = [row for row in every_event() if topic in (None, row["topic"]) and published in (None, row["published"])]
    shown = [row for row in rows if consumer is None or consumer in row["consumers"]][: limit or None]
    print_rows("Events", shown, as_json, as_csv, as_ndjson, people=_for_people, wide=("consumers",), limit=limit)


def every_event() -> list[dict[str, Any]]:
    """One row per registered event, by name."""
    codec.types()
    return [
        {
            "name": r.name,
            "version": r.version,
            "topic": None if issubclass(r.event, Act) else topic_of(r.name),
            "published": r.published,
            "upcasters": sorted(version for name, version in upcasts.UPCASTS if name == r.name),
            "consumers": [projection.name for projection in ALL if r.name in projection.handles],
        }
        for r in registry.all_registrations()
    ]


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    steps = ", ".join(f"v{version} → v{version + 1}" for version in row["upcasters"])
    return {
        "name": row["name"],
        "v": row["version"],
        "topic": row["topic"] and row["topic"].removeprefix("kehu."),
        "by": "channel" if row["published"] else "derived",
        "upcasters": steps or None,
        "consumers": ", ".join(row["consumers"]).replace("_", " ") or None,
    }
