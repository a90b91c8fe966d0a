"""`kehu audit replay`: a view as it stood, its digest, and what changed between two moments and by which events."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from infra import bootstrap
from infra.cli.filters import Where, several
from infra.cli.output import Csv, Json, Limit, Ndjson, cell, print_rows, say
from infra.cli.progress import events, progress
from infra.cli.reading import linked
from infra.cli.servers import Postgres, connected
from infra.cli.times import at_time
from infra.errors import KehuError
from infra.postgres.as_of import SYNTAX, AsOf
from infra.postgres.replayed import changes, columns_of, counted_changes, named, rows_of
from infra.replay import Beside, How, Replayed, Told, Wanted, table_at, table_beside_live, table_between
from projections.declare import Table
from projections.views import VIEWS

View = Annotated[str, typer.Argument(help=f"A view ({', '.join(one.name for one in VIEWS)}) or a read model's table.")]
HIDDEN: Mapping[str, frozenset[str]] = {view.table.name: view.without for view in VIEWS}
"""Columns that are only for folds; people are not shown them."""


class DiffersFromLive(KehuError):
    """The live read model is not what follows from the log. Run `kehu projections check`, and rebuild it."""


def replay(
    view: View,
    postgres: Postgres = "",
    as_of_position: Annotated[int | None, typer.Option(min=0, help="By the events up to this position.")] = None,
    known_at: Annotated[datetime | None, at_time("What the bank knew at this time")] = None,
    happened_by: Annotated[datetime | None, at_time("What had happened by this time")] = None,
    customer: Annotated[
        str | None, typer.Option(help="Only what follows from the events of this customer, and of all ever merged.")
    ] = None,
    diff: Annotated[str | None, typer.Option(help=f"What is different at another moment: {SYNTAX}.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="As of the position of the live read model, and compared with that.")
    ] = False,
    processes: Annotated[int, typer.Option(min=0, help="Processes that fold; 0: one for each core.")] = 0,
    where: Where = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """A view as it stood, replayed from the log in temporary tables that nobody else sees, with a digest of its rows.

    --as-of-position and --known-at count what was recorded by then, --happened-by what had happened, and both together
    what had happened by one time as it was known at another. The same moment has the same digest, whenever it is asked
    for. --diff goes from this moment to the other one.

    Example: kehu audit replay retention-risk --known-at 2026-03-01 --diff now --limit 0 --csv
    """
    projection, table = named(view)
    moment = AsOf(as_of_position, known_at, happened_by)
    other = None if diff is None else AsOf.parse(diff)
    if live and (diff or customer or moment != AsOf()):
        raise typer.BadParameter("it has a moment of its own, and all customers", param_hint="--live")
    columns = table.key if diff else [*table.key, *columns_of(table)]
    chosen = several(where, list(columns))
    customers = linked(postgres, customer) if customer else ()
    wanted, now = Wanted(projection, table, customers), bootstrap.now()
    plain = as_csv or as_ndjson
    printed = partial(print_rows, as_json=as_json, as_csv=as_csv, as_ndjson=as_ndjson, limit=limit)
    with connected(postgres) as conn, _progress(customers) as told:
        how = How(told, postgres, processes or os.cpu_count() or 1)
        if other is not None:
            both = table_between(conn, wanted, (moment, other), now, how)
            counts = counted_changes(conn, table)
            about = {"view": table.name, "before": _about(both[0]), "after": _about(both[1]), "changes": counts}
            rows, wide = changes(conn, table, chosen, limit), ("changed", "by")
            printed(f"Changes of {table.name}", rows, people=partial(change_for_people, table), wide=wide, about=about)
            if not as_json:
                _tell(plain, f"before: {_text(both[0])}")
                _tell(plain, f"after: {_text(both[1])}")
                _tell(plain, ", ".join(f"{n:,} {kind}" for kind, n in counts.items()))
            return
        beside = table_beside_live(conn, wanted, now, how) if live else None
        shown = beside.replayed if beside else table_at(conn, wanted, moment, now, how)
        about = {"view": table.name, **_about(shown)}
        if beside:
            about["live"] = {"digest": beside.digests[1], "replayed": beside.digests[0], "at": beside.compared_at}
        rows, people = rows_of(conn, table, chosen, limit), partial(_for_people, table)
        printed(f"{table.name} as of {shown.of.text}", rows, people=people, wide=("row",), about=about)
        if not as_json:
            _tell(plain, _text(shown))
    if beside:
        if beside.digests[0] != beside.digests[1]:
            raise DiffersFromLive(f"{projection.name} at position {shown.of.position}: {', '.join(beside.digests)}")
        if not as_json:
            _tell(plain, _same(beside))


@contextmanager
def _progress(customers: Sequence[str]) -> Iterator[Told]:
    with progress(events()) as bar:
        task = bar.add_task(f"replaying {len(customers) or 'all'} customers", total=None)
        yield lambda read: bar.advance(task, read)


def _about(shown: Replayed) -> dict[str, Any]:
    return {
        "as_of": shown.of.text,
        "position": shown.of.position,
        "at": shown.of.at,
        "rows_total": shown.rows,
        "digest": shown.digest,
    }


def _text(shown: Replayed) -> str:
    return f"{shown.of.text}: {shown.rows:,} rows, digest {shown.digest}"


def _same(beside: Beside) -> str:
    """That both are equal: of rows that time changes by digests of their own, of rows as of one moment."""
    if beside.digests[0] == beside.replayed.digest:
        return "the live read model has the same rows, and so the same digest"
    moment = f"{beside.compared_at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        "the live read model has the same rows. They change as time passes, so for this comparison those of both were "
        f"brought to one moment, {moment}: there both have the digest {beside.digests[1]}"
    )


def _tell(plain: bool, text: str) -> None:
    if plain:
        sys.stderr.write(text + "\n")
    else:
        say(text, "dim")


def _for_people(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    hidden = HIDDEN.get(table.name, frozenset())
    said = {name: row[name] for name in table.columns if name not in hidden and row[name] is not None}
    return {**{name: row[name] for name in table.key}, "row": said, "position": row["position"]}


def change_for_people(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A changed row with each column that differs on a line of its own, and the first events that did it."""
    before, after = row["before"] or {}, row["after"] or {}
    hidden = HIDDEN.get(table.name, frozenset()) | {"position"}
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    said = [
        f"{name} {_became(row['kind'], before.get(name), after.get(name))}" for name in changed if name not in hidden
    ]
    if not said:
        said = [f"only what is not shown here ({', '.join(changed)}), see --json"]
    by = [f"{one['position']} {one['name']} ({one['stream']})" for one in row["events"][:3]]
    if (more := row["events_total"] - len(by)) > 0:
        by.append(f"{more} more")
    return {**row["key"], "row": row["kind"], "changed": "\n".join(said), "by": "\n".join(by) or "time"}


def _became(kind: str, before: Any, after: Any) -> str:
    match kind:
        case "added":
            return _brief(after)
        case "removed":
            return _brief(before)
    return f"{_brief(before)} → {_brief(after)}"


def _brief(value: Any) -> str:
    """A value in a line: of a document what it holds, since both sides of a change would fill the screen."""
    match value:
        case dict() if value:
            return f"{{{', '.join(value)}}}, see --json"
        case list() if any(isinstance(one, dict | list) for one in value):
            return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}, see --json"
        case dict() | list() if not value:
            return cell(None)
    return cell(value)
