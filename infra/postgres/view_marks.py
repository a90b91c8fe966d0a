"""How far each view is published, and who publishes it: one process at a time, as long as its connection lives."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from infra.errors import KehuError
from infra.postgres.changes import Token
from infra.postgres.connection import Connection
from projections.views import View

SILENT = 20.0
"""Seconds without a statement after which a publisher counts as frozen: one that runs asks something every second."""

# A frozen process keeps its connection, and with it what it claimed. The lock's two halves are those of `claim`.
_END_FROZEN = """SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND a.datname = current_database()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid::bigint = hashtext('kehu-view')::bigint & 4294967295
    AND l.objid::bigint = hashtext(%s)::bigint & 4294967295
    AND a.state = 'idle' AND a.state_change < clock_timestamp() - %s * interval '1 s'"""


_MARK = """SELECT m.token, extract(epoch FROM clock_timestamp() - m.saved_at)::float8, b.serial
    FROM kehu.view_marks m JOIN kehu.projection_builds b ON b.name = %s AND b.state = 'live' WHERE m.view = %s"""


class AnotherPublisher(KehuError):
    """Another process publishes this view by now. Nothing is lost: it goes on where this one was."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the topic with this id has: everything up to the token, without one nothing that is certain.

    `epoch` grows whenever publishing begins with a comparison or with everything, so that with the time of a change it
    tells which of two messages about a row is the newer one.
    """

    topic_id: str
    epoch: int
    token: Token | None


class Marks:
    """Claims views and keeps their marks, over the connection of a `Feed`."""

    def __init__(self, connection: Connection[tuple[Any, ...]], silent: float = SILENT) -> None:
        """A publisher that asks nothing for `silent` seconds loses its views to one that wants them."""
        self._connection, self._silent = connection, silent

    def close(self) -> None:
        """Close the connection, and let go of what was claimed."""
        self._connection.close()

    def claim(self, view: str) -> bool:
        """Whether this process publishes the view from now on, for as long as the connection lives."""
        with self._connection.use() as conn:
            lock = "SELECT pg_try_advisory_lock(hashtext('kehu-view'), hashtext(%s))"
            if conn.execute(lock, (view,)).fetchone() == (True,):
                return True
            conn.execute(_END_FROZEN, (view, self._silent))
            return False

    def read(self, view: str) -> Mark:
        """The mark of a view; one that fits no topic when nothing was ever published."""
        with self._connection.use() as conn:
            query = "SELECT topic_id, epoch, token FROM kehu.view_marks WHERE view = %s"
            row = conn.execute(query, (view,)).fetchone()
        if row is None:
            return Mark("", 0, None)
        topic_id, epoch, token = row
        return Mark(topic_id, epoch, token and Token.read(token))

    def save(self, view: str, before: Mark, mark: Mark) -> None:
        """Replace a mark. Raises AnotherPublisher when it is another one by now."""
        with self._connection.use() as conn:
            # The commit waits for the disk, and so for every row that it says was published: those are not waited for.
            saved = conn.execute(
                "INSERT INTO kehu.view_marks AS m (view, topic_id, epoch, token) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (view) DO UPDATE SET topic_id = excluded.topic_id, epoch = excluded.epoch,"
                " token = excluded.token, saved_at = clock_timestamp()"
                " WHERE (m.topic_id, m.epoch) = (%s, %s) AND m.token IS NOT DISTINCT FROM %s",
                (
                    view,
                    mark.topic_id,
                    mark.epoch,
                    _text(mark.token),
                    before.topic_id,
                    before.epoch,
                    _text(before.token),
                ),
            )
            if saved.rowcount != 1:
                raise AnotherPublisher(view)


def anew(conn: "psycopg.Connection[Any]", view: str) -> None:
    """Let a view be published in full, by whoever publishes it: it finds that the mark is another one."""
    conn.execute("UPDATE kehu.view_marks SET token = NULL WHERE view = %s", (view,))


def lag(conn: "psycopg.Connection[Any]", view: View) -> float:
    """Seconds since the oldest change that is not published; when another build was published, since the last mark."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        mark = cursor.execute(_MARK, (view.projection.name, view.name)).fetchone()
        if mark is None:
            return 0.0
        written, since, live = mark
        token = None if written is None else Token.read(written)
        if token is None or token.walk is not None or token.build != live:
            return float(since)
        query = "SELECT extract(epoch FROM clock_timestamp() - min(changed_at))::float8 FROM {} WHERE changed_at > %s"
        oldest = cursor.execute(sql.SQL(query).format(sql.Identifier("kehu", view.table.name)), (token.at,)).fetchone()
        return float(oldest[0] or 0.0) if oldest else 0.0


def _text(token: Token | None) -> str | None:
    return None if token is None else str(token)
