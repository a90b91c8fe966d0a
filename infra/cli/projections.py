"""`kehu projections`: how the read models stand; let one rest, go on, or try again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.output import Csv, Json, Ndjson, print_rows, say
from infra.cli.servers import Postgres, connected
from infra.cli.who import By, Reason, who
from infra.errors import KehuError
from infra.postgres.builds import Builds, every_build, of_row
from infra.postgres.completeness import first_hole
from projections.catalogue import ALL
from projections.declare import Projection

Name = Annotated[str, typer.Argument(help=f"{', '.join(p.name for p in ALL)}, or all.")]


class UnknownProjection(KehuError):
    """There is no such read model."""


class NotComplete(KehuError):
    """A read model does not hold every event of the log once. Run `kehu rebuild NAME --switch`, and report it."""


def chosen(name: str) -> Sequence[Projection]:
    """The projections of this name, or all. Raises UnknownProjection."""
    wanted = name.replace("-", "_")
    found = [projection for projection in ALL if wanted in ("all", projection.name)]
    if not found:
        raise UnknownProjection(f"{name}: use {', '.join(p.name for p in ALL)} or all")
    return found


def status(postgres: Postgres = "", as_json: Json = False, as_csv: Csv = False, as_ndjson: Ndjson = False) -> None:
    """Every build of every read model: how far it is, whether it runs, and where and why it stopped.

    Example: kehu projections status
    """
    with connected(postgres) as conn:
        rows = [{**row, "status": _status(row)} for row in every_build(conn)]
    print_rows("Projections", rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("why",))


def _status(row: dict[str, Any]) -> str:
    if row["error"]:
        return "stopped"
    if row["paused"]:
        return "paused"
    return "running" if row["state"] == "live" else row["state"]


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "projection": row["name"],
        "build": f"v{row['version']} build {row['build']}",
        "status": row["status"],
        "position": row["position"],
        "behind": row["behind"],
        "moved (UTC)": row["updated_at"],
        "why": row["error"],
    }


def pause(name: Name, postgres: Postgres = "", by: By = "", reason: Reason = None) -> None:
    """Let a read model rest: no worker folds it until `resume`, and readers see it as it stands.

    Example: kehu projections pause retention_risk --reason "its model is being looked at"
    """
    _each(name, postgres, _pausing(by, reason, paused=True))
    say(f"{name} rests.")


def resume(name: Name, postgres: Postgres = "", by: By = "", reason: Reason = None) -> None:
    """Let a read model that rests go on where it was.

    Example: kehu projections resume retention_risk
    """
    _each(name, postgres, _pausing(by, reason, paused=False))
    say(f"{name} goes on.")


def retry(name: Name, postgres: Postgres = "") -> None:
    """Let a read model that stopped at an event try it again; the workers need no restart unless their code changed.

    Example: kehu projections retry retention_risk
    """
    _each(name, postgres, Builds.retry)
    say(f"{name} tries again.")


def _pausing(by: str, reason: str | None, *, paused: bool) -> Callable[[Builds, str], None]:
    return lambda builds, name: builds.pause(name, who(by), reason, bootstrap.now(), paused=paused)


def _each(name: str, postgres: str, do: Callable[[Builds, str], None]) -> None:
    with closing(Builds(postgres)) as builds:
        for one in chosen(name):
            do(builds, one.name)


def check(
    name: Name = "all",
    postgres: Postgres = "",
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Prove that each event of the log was folded once, or name the first that is missing, doubled or different.

    Reads the whole log, about a second per million events and read model. Exit code 1 when something is wrong.

    Example: kehu projections check satisfaction
    """
    rows = list(_checked(postgres, chosen(name)))
    print_rows("Completeness", rows, as_json, as_csv, as_ndjson)
    if wrong := [row["projection"] for row in rows if row["verdict"] != "complete"]:
        raise NotComplete(", ".join(wrong))


def _checked(postgres: str, projections: Sequence[Projection]) -> Iterator[dict[str, Any]]:
    ours = {(one.name, one.version): one for one in projections}
    with connected(postgres) as conn:
        for row in every_build(conn):
            projection = ours.get((row["name"], row["version"]))
            if projection is not None:
                hole = first_hole(conn, projection, of_row(row))
                yield {
                    "projection": row["name"],
                    "build": row["build"],
                    "position": row["position"],
                    "verdict": "complete" if hole is None else hole.kind,
                    "first": hole.first if hole else None,
                    "last": hole.last if hole else None,
                }
