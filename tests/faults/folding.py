"""Read models are the fold of the log: all rows are made once more, in memory, and compared with PostgreSQL's."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.projector import Projector
from domain import handling as _events_are_registered_by_importing_it  # noqa: F401
from infra.memory.read_models import MemoryReadModels
from infra.postgres.log import PostgresLog
from projections.catalogue import ALL
from projections.declare import Projection, Row, Table

TIMED = {"band", "probability", "logit", "score", "model", "reasons", "scored_at", "next_change_at"}
"""Columns that also change because time passes, of a projection that is swept."""


def differences(database: str) -> list[str]:
    """The rows that a fold of the whole log gives otherwise."""
    log = PostgresLog(database)
    again = MemoryReadModels()
    Projector(log, again, ALL).run_until_caught_up()
    log.close()
    with psycopg.connect(database, row_factory=dict_row, options="-c timezone=UTC") as conn:
        return [said for projection in ALL for said in _of(conn, again, projection)][:20]


def _of(conn: "psycopg.Connection[dict[str, Any]]", again: MemoryReadModels, projection: Projection) -> Iterator[str]:
    left_out = {"changed_at"} | (TIMED if projection.sweep else set())
    selection = projection.selection
    for table in projection.tables:
        if selection is not None and table is selection.table:
            yield from _selected(conn, projection.tables[0], table, selection.pick)
            continue
        rows = conn.execute(f"SELECT * FROM kehu.{table.name}".encode())
        shown = {tuple(row[name] for name in table.key): _plain(row, left_out) for row in rows}
        made = {
            key: _plain({**dict(zip(table.key, key, strict=True)), **row, "position": position}, left_out)
            for key, (position, row) in again.rows.get((projection.name, table.name), {}).items()
        }
        for key in shown.keys() | made.keys():
            if shown.get(key) != made.get(key):
                yield f"{table.name} {key} is {shown.get(key)}, the log says {made.get(key)}"


def _selected(
    conn: "psycopg.Connection[dict[str, Any]]", first: Table, table: Table, pick: Callable[[Row], Row | None]
) -> Iterator[str]:
    """When a row was swept last is up to the worker; which rows are selected follows from that."""
    rows = conn.execute(f"SELECT * FROM kehu.{first.name}".encode())
    made = {tuple(row[name] for name in first.key): made for row in rows if (made := pick(row)) is not None}
    shown = {
        tuple(row[name] for name in table.key): {name: row[name] for name in table.columns}
        for row in conn.execute(f"SELECT * FROM kehu.{table.name}".encode())
    }
    for one in shown.keys() | made.keys():
        if shown.get(one) != made.get(one):
            yield f"{table.name} {one} is {shown.get(one)}, its row in {first.name} says {made.get(one)}"


def _plain(row: Mapping[str, Any], left_out: set[str]) -> str:
    """A row as JSON, its keys in one order."""
    kept = {name: value for name, value in row.items() if name not in left_out}
    return json.dumps(kept, sort_keys=True, default=lambda value: value.isoformat())
