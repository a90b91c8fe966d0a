"""How far everything is, counted: topics and what became of their messages, dead letters, and read models."""

# ruff: noqa: S608 (what is put together are lists of our own columns; values are always parameters)

from datetime import datetime

from infra.postgres.dead_letters import matching_letters
from infra.postgres.querying import Connection, Row, dict_rows


def positions(conn: Connection) -> list[Row]:
    """How far each partition of each incarnation of a topic is read: `next_offset`, and when it moved last."""
    query = "SELECT topic, topic_id, partition, next_offset, updated_at FROM kehu.positions ORDER BY 1, 2, 3"
    return dict_rows(conn, query)


def reconciliation(conn: Connection) -> list[Row]:
    """Per incarnation of a topic: the messages by outcome, beside how far it is read and what the tables hold.

    `read` is the sum of the positions: the number of messages, for a topic that was read from its offset 0 and is
    neither compacted nor written in transactions. `outcomes` = `appended` + `duplicate` + `parked` + `dead` was counted
    with each batch; `parked_rows`, `dead_rows` and their reasons are counted now. `balanced` compares the counted with
    the kept; replayed dead letters stay where they are, and are read again as new messages.
    """
    query = """SELECT p.topic, p.topic_id, p.read, p.appended + p.duplicate + p.parked + p.dead AS outcomes,
            p.appended, p.duplicate, p.parked, p.dead, coalesce(w.n, 0) AS parked_rows, coalesce(d.n, 0) AS dead_rows,
            coalesce(w.by_rule, '{}') AS parked_by_rule, coalesce(d.by_rule, '{}') AS dead_by_rule,
            p.parked = coalesce(w.n, 0) AND p.dead = coalesce(d.n, 0) AS balanced
        FROM (SELECT topic, topic_id, sum(next_offset)::bigint AS read, sum(appended)::bigint AS appended,
                sum(duplicate)::bigint AS duplicate, sum(parked)::bigint AS parked, sum(dead)::bigint AS dead
            FROM kehu.positions GROUP BY topic, topic_id) p
        LEFT JOIN (SELECT topic_id, sum(n)::bigint AS n, jsonb_object_agg(rule, n) AS by_rule
            FROM (SELECT topic_id, rule, count(*) AS n FROM kehu.parked GROUP BY topic_id, rule) r
            GROUP BY topic_id) w USING (topic_id)
        LEFT JOIN (SELECT topic_id, sum(n)::bigint AS n, jsonb_object_agg(rule, n) AS by_rule
            FROM (SELECT topic_id, rule, count(*) AS n FROM kehu.dead_letters GROUP BY topic_id, rule) r
            GROUP BY topic_id) d USING (topic_id)
        ORDER BY p.topic, p.topic_id"""
    return dict_rows(conn, query)


def count_dead_letters(
    conn: Connection,
    *,
    rule: str | None = None,
    topic: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Per rule and source how many dead letters match, how many were replayed, and when the newest died."""
    query = f"""SELECT rule, source, count(*) AS letters, count(replayed_at) AS replayed, max(died_at) AS newest
        FROM kehu.dead_letters WHERE {matching_letters(rule, topic, source, since)} GROUP BY rule, source
        ORDER BY letters DESC, rule, source LIMIT %(limit)s"""
    values = {"rule": rule, "topic": topic, "source": source, "since": since, "limit": limit}
    return dict_rows(conn, query, values)


def projections(conn: Connection) -> list[Row]:
    """Every build of every projection: how far it folded the log, whether it rests, and why it stopped if it did."""
    query = """SELECT name, version, build, state, position, head.n AS head, head.n - position AS behind, paused, error,
            updated_at, model, serial
        FROM kehu.projection_builds, (SELECT n FROM kehu.log_head) head ORDER BY name, version, build"""
    return dict_rows(conn, query)
