"""What the store holds, asked for now and then: a few look-ups by index, however many messages wait.

Messages that wait and dead letters that are kept are not counted here: each batch has counted them with its positions.
"""

from psycopg.rows import tuple_row

from infra.figures import Folding, Held
from infra.postgres.connection import Connection
from infra.postgres.view_marks import lag
from projections.views import VIEWS

MOST = 10_000
"""Unpublished dead letters that are counted at most."""

HEAD = "SELECT extract(epoch FROM clock_timestamp())::float8, n FROM kehu.log_head"
FOLDINGS = """SELECT p.name, p.position, head.n - p.position,
        greatest(coalesce(extract(epoch FROM clock_timestamp() - following.recorded_at), 0), 0)::float8,
        p.error IS NOT NULL, p.paused
    FROM kehu.projections p CROSS JOIN kehu.log_head head
    LEFT JOIN kehu.stored_events following ON following.notification_id = p.position + 1 ORDER BY p.name"""
COUNTED = "SELECT topic, sum(parked)::int8, sum(dead)::int8 FROM kehu.positions GROUP BY topic"
PARKED = """SELECT extract(epoch FROM clock_timestamp() - parked_at)::float8
    FROM kehu.parked ORDER BY seq LIMIT 1"""
UNPUBLISHED = f"""SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(died_at)), 0)::float8
    FROM (SELECT died_at FROM kehu.dead_letters WHERE NOT published ORDER BY id LIMIT {MOST}) oldest"""  # noqa: S608


class Holdings:
    """Asks over one connection, used by one thread; no longer than two seconds for each statement."""

    def __init__(self, conninfo: str) -> None:
        self._connection = Connection(conninfo, "kehu-metrics", tuple_row, "-c statement_timeout=2s")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def read(self) -> Held:
        """What is held now. Raises Unavailable."""
        with self._connection.use() as conn:
            ((at, head),) = conn.execute(HEAD).fetchall()
            foldings = [Folding(*row) for row in conn.execute(FOLDINGS).fetchall()]
            counted = conn.execute(COUNTED).fetchall()
            waiting = conn.execute(PARKED).fetchall()
            ((unpublished, age),) = conn.execute(UNPUBLISHED).fetchall()
            lags = {view.name: lag(conn, view) for view in VIEWS}
        parked, dead = {topic: n for topic, n, _ in counted}, {topic: n for topic, _, n in counted}
        return Held(at, head, foldings, parked, waiting[0][0] if waiting else 0.0, dead, unpublished, age, lags)
