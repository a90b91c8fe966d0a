"""A store with a long history: the rows of a run over and over, each time under other names.

What is encrypted opens in its own stream only, so it is left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from benchmarks.servers import fresh_database
from infra.embedded.postgres import EmbeddedPostgres
from infra.postgres.migrate import migrate

_EVENTS = """INSERT INTO kehu.stored_events (originator_id, originator_version, topic, state, notification_id,
        recorded_at, customer_id)
    SELECT originator_id || {again}, originator_version, topic,
        CASE WHEN position('"hidden"' IN convert_from(state, 'UTF8')) = 0 THEN state
            ELSE convert_to((convert_from(state, 'UTF8')::jsonb - 'hidden')::text, 'UTF8') END,
        notification_id + {again} * {events}, recorded_at, customer_id || {again}
    FROM of_a_run.stored_events ORDER BY notification_id"""
_INBOX = """INSERT INTO kehu.inbox (key, content, stream)
    SELECT decode(md5(key || {again}::text::bytea), 'hex'), content, stream || {again} FROM of_a_run.inbox"""


@contextmanager
def repeated(server: EmbeddedPostgres, run: str, times: int) -> Iterator[str]:
    """The name of a database whose log and inbox hold what `run` holds so many times; it is made to be copied."""
    with fresh_database(server) as database:
        migrate(database)
        with psycopg.connect(run) as source, psycopg.connect(database, autocommit=True) as target:
            target.execute("CREATE SCHEMA of_a_run")
            for table in ("stored_events", "inbox"):
                _copied(source, target, table)
            row = target.execute("SELECT count(*) FROM of_a_run.stored_events").fetchone()
            assert row is not None
            for again in range(times):
                for statement in (_EVENTS, _INBOX):
                    target.execute(sql.SQL(statement).format(again=again, events=row[0]))
            target.execute("UPDATE kehu.log_head SET n = %s, recorded_at = clock_timestamp()", (times * row[0],))
            target.execute("DROP SCHEMA of_a_run CASCADE")
            target.execute("VACUUM ANALYZE")
            target.execute("CHECKPOINT")
            name = target.info.dbname
        yield name


def _copied(
    source: "psycopg.Connection[tuple[object, ...]]", target: "psycopg.Connection[tuple[object, ...]]", table: str
) -> None:
    ours, theirs = sql.Identifier("kehu", table), sql.Identifier("of_a_run", table)
    target.execute(sql.SQL("CREATE UNLOGGED TABLE {} (LIKE {})").format(theirs, ours))
    with (
        source.cursor().copy(sql.SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(ours)) as rows,
        target.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(theirs)) as copy,
    ):
        for data in rows:
            copy.write(data)
