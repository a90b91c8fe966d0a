"""Primary keys and indexes of new builds, made when the rows are there: that costs less than to keep them up."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import sql

from infra.postgres.builds import Build, index_of, names
from projections.declare import Index, Projection, Table

# Each statement has a thread and a connection of its own, so no workers beside them. Commits do not wait for the disk:
# the one that moves the positions of the builds comes later, and brings all before it there.
_OPTIONS = "-c synchronous_commit=off -c maintenance_work_mem=128MB -c max_parallel_maintenance_workers=0"


def finish(conninfo: str, filled: Sequence[tuple[Projection, Build]], at_once: int) -> None:
    """Make what is missing of the tables of filled builds, so much at once, and let the planner know them."""
    with psycopg.connect(conninfo) as conn:
        found = [
            (_size(conn, build.schema, t), build.schema, t) for projection, build in filled for t in projection.tables
        ]
    tables = [(schema, table) for _, schema, table in sorted(found, key=lambda one: -one[0])]
    _run(conninfo, [[index] for schema, table in tables for index in _indexes(schema, table)], at_once)
    _run(conninfo, [_last(schema, table) for schema, table in tables], at_once)


def statements(schema: str, table: Table) -> list[sql.Composed]:
    """What `finish` does for one table, for whoever does it over a connection of their own."""
    return [*_indexes(schema, table), *_last(schema, table)]


def _indexes(schema: str, table: Table) -> list[sql.Composed]:
    primary = [index_of(schema, table, Index(tuple(table.key)), primary=True)]
    return primary + [index_of(schema, table, index) for index in table.every_index]


def _last(schema: str, table: Table) -> list[sql.Composed]:
    """The key becomes the primary one; of the columns that a question may name the planner learns what is in them."""
    target, key = sql.Identifier(schema, table.name), sql.Identifier(f"{table.name}_pkey")
    asked = dict.fromkeys((*table.key, *(column for index in table.every_index for column in index.columns)))
    analyze = sql.SQL("ANALYZE {} ({})").format(target, names(asked))
    if table.summed:
        return [analyze]
    return [sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY USING INDEX {}").format(target, key, key), analyze]


def _size(conn: "psycopg.Connection[Any]", schema: str, table: Table) -> int:
    row = conn.execute("SELECT pg_relation_size(%s::regclass)", (f"{schema}.{table.name}",)).fetchone()
    assert row is not None
    return int(row[0])


def _run(conninfo: str, statements: Sequence[Sequence[sql.Composed]], at_once: int) -> None:
    """Those of one sequence one after the other."""
    left = iter(statements)  # the next of a list's iterator is one step: no two threads get the same

    def work() -> None:
        with psycopg.connect(conninfo, autocommit=True, application_name="kehu-index", options=_OPTIONS) as conn:
            while (one := next(left, None)) is not None:
                for statement in one:
                    conn.execute(statement)

    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(work) for _ in range(at_once)]:
            done.result()
