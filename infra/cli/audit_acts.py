"""`kehu audit acts`: what was done to the system."""

from typing import Annotated, Any

import typer

from domain.administration import Area, streams
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows
from infra.cli.servers import Postgres, connected
from infra.cli.times import Since, Until, in_utc
from infra.postgres.audited import Wanted, stream_events


def list_acts(
    postgres: Postgres = "",
    area: Annotated[Area | None, typer.Option(help="Only of this area.")] = None,
    act: Annotated[str | None, typer.Option("--type", help="Such as projection-switched.")] = None,
    by: Annotated[str | None, typer.Option(help="Only what this person did.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """What was done to the system, by whom and why: messages repaired or released, read models switched, and so on.

    Acts are events of the log, under the same proof; `kehu audit prove` takes their positions.

    Example: kehu audit acts --area projections --since 2026-01-01
    """
    kind = act and f"administration.{act.removeprefix('administration.')}"
    wanted = Wanted(kind, in_utc(since), in_utc(until), None, by)
    with connected(postgres) as conn:
        rows = stream_events(conn, streams(area), wanted, limit or None)
        print_rows("Acts", rows, as_json, as_csv, as_ndjson, people=_act_for_people, limit=limit, wide=("what",))


def _act_for_people(row: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in row["data"].items() if name not in ("by", "reason")}
    return {
        "position": row["position"],
        "at": f"{row['happened_at']:%Y-%m-%d %H:%M}",
        "act": row["type"].removeprefix("administration.").rpartition(".v")[0],
        "by": row["actor"],
        "why": row["data"].get("reason"),
        "what": ", ".join(f"{name} {value}" for name, value in said.items()),
    }
