"""`kehu audit acts`: what was done to the system."""

from typing import Annotated, Any

import typer

from domain import registry
from domain.administration import Act, Area, streams
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows
from infra.cli.servers import Postgres, connected
from infra.cli.times import Since, Until
from infra.postgres.audited import Wanted, as_act, stream_events

PREFIX = "administration."
COLUMNS = ("position", "at", "recorded_at", "area", "act", "by", "user", "reason", "what")


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

    Acts are events of the log, under the same proof; `kehu audit prove` takes their positions, and `kehu audit stream`
    shows those of an area as stored, such as administration-projections.

    Example: kehu audit acts --area projections --since 2026-01-01
    """
    wanted = Wanted(act and _kind(act), since, until, None, by)
    with connected(postgres) as conn:
        rows = map(_told, stream_events(conn, streams(area), wanted, limit or None))
        how = (as_json, as_csv, as_ndjson)
        print_rows("Acts", rows, *how, people=_for_people, wide=("why", "what"), limit=limit, columns=COLUMNS)


def _kind(said: str) -> str:
    """The stored name of an act, with or without its version. Raises BadParameter for one that there is none of."""
    known = [one.name for one in registry.all_registrations() if issubclass(one.event, Act)]
    kind = PREFIX + said.removeprefix(PREFIX)
    if kind.partition(".v")[0] not in known:
        names = ", ".join(sorted(name.removeprefix(PREFIX) for name in known))
        raise typer.BadParameter(f"use {names}", param_hint=f"--type {said}")
    return kind


def _told(row: dict[str, Any]) -> dict[str, Any]:
    act = as_act(row)
    what = {name: value for name, value in act["what"].items() if name != "user"}
    told = {**act, "user": act["what"].get("user"), "what": what}
    return {name: told[name] for name in COLUMNS}


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "position": row["position"],
        "at": row["at"],
        "act": row["act"].rpartition(".v")[0],
        "by": row["by"],
        "why": row["reason"],
        "what": {**row["what"], "user": row["user"]} if row["user"] else row["what"],
    }
