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
    SELECT originator_id || {again}, originator_version, topic, {state}, notification_id + {again} * {events},
        recorded_at, customer_id || {again} FROM of_a_run.stored_events ORDER BY notification_id"""
_SAME = """CASE WHEN position('"hidden"' IN convert_from(state, 'UTF8')) = 0 THEN state
            ELSE convert_to((convert_from(state, 'UTF8')::jsonb - 'hidden')::text, 'UTF8') END"""
# In an event stand the names of its customer and of its stream.
_RENAMED = f"""convert_to(replace(replace(convert_from({_SAME}, 'UTF8'),
        '"' || customer_id || '"', '"' || customer_id || {{again}} || '"'),
        '"' || substr(originator_id, strpos(originator_id, '-') + 1) || '"',
        '"' || substr(originator_id, strpos(originator_id, '-') + 1) || {{again}} || '"'), 'UTF8')"""
_INBOX = """INSERT INTO kehu.inbox (key, content, stream)
    SELECT decode(md5(key || {again}::text::bytea), 'hex'), content, stream || {again} FROM of_a_run.inbox"""


@contextmanager
def repeated(server: EmbeddedPostgres, run: str, times: int, *, renamed: bool = False) -> Iterator[str]:
    """The name of a database whose log and inbox hold what `run` holds so many times; it is made to be copied.

    What stands in the events is the same each time. Or it is `renamed` too, so that they can be folded, and there is no
    inbox.
    """
    with fresh_database(server) as database:
        migrate(database)
        with psycopg.connect(run) as source, psycopg.connect(database, autocommit=True) as target:
            target.execute("CREATE SCHEMA of_a_run")
            for table in ("stored_events", "inbox"):
                _copied(source, target, table)
            row = target.execute("SELECT count(*) FROM of_a_run.stored_events").fetchone()
            assert row is not None
            for again in range(times):
                state = sql.SQL(_RENAMED).format(again=again) if renamed else sql.SQL(_SAME)
                for statement in (_EVENTS,) if renamed else (_EVENTS, _INBOX):
                    target.execute(sql.SQL(statement).format(again=again, events=row[0], state=state))
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
