"""`kehu views list`, `kehu views publish`."""

from typing import Annotated, Any

import typer

from infra import bootstrap, settings
from infra.cli.output import Csv, Json, Ndjson, print_rows, say
from infra.cli.projections import chosen
from infra.cli.servers import Kafka, Postgres, connected
from infra.kafka import faust_app
from infra.operating import webhooks as operating
from infra.postgres.view_marks import anew, lag
from projections.views import VIEWS


def list_views(
    postgres: Postgres = "",
    read_model: Annotated[str | None, typer.Option(help="Only views of this read model.")] = None,
    behind: Annotated[
        float | None, typer.Option(min=0, help="Only views with a change that waits for longer than so many seconds.")
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """The views, the topics that they are published on, and how far.

    Example: kehu views list --behind 60
    """
    wanted = [view for view in VIEWS if read_model is None or view.projection in chosen(read_model)]
    with connected(postgres) as conn:
        rows: list[dict[str, Any]] = [
            {
                "view": view.name,
                "topic": view.topic,
                "read_model": f"{view.projection.name} v{view.projection.version}",
                "key": ", ".join(view.table.key),
                "behind_seconds": round(lag(conn, view), 1),
                "meaning": view.meaning,
            }
            for view in wanted
        ]
    shown = [row for row in rows if behind is None or row["behind_seconds"] > behind]
    print_rows("Views", shown, as_json, as_csv, as_ndjson, people=_for_people)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Without what would not fit."""
    return {name: row[name] for name in ("view", "topic", "read_model", "behind_seconds")}


def publish(postgres: Postgres = "", kafka: Kafka = "") -> None:
    """Publish the views, and do nothing else, until SIGTERM. A `kehu worker` publishes them, too: one at a time does.

    Example: kehu views publish --postgres "host=db dbname=kehu" --kafka broker:9092
    """
    faust_app.run(bootstrap.view_publisher(settings.read(postgres=postgres or None, kafka=kafka or None)))


def republish(
    view: Annotated[str, typer.Argument(help="A name of `kehu views list`.", show_default=False)],
    postgres: Postgres = "",
) -> None:
    """Let a view be published in full, and what its topic has beyond it be taken back: after a backup was restored.

    Example: kehu views republish service-queues
    """
    with connected(postgres) as conn:
        anew(conn, operating.named(view).name)
    say(f"{view} is published in full as soon as a worker runs")
