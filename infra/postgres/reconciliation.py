"""How far topics are read, and what became of their messages: as it was counted, beside what is kept."""

from infra.postgres.querying import Connection, Row, dict_rows


def positions(conn: Connection) -> list[Row]:
    """How far each partition of each incarnation of a topic is read: `next_offset`, and when it moved last."""
    query = "SELECT topic, topic_id, partition, next_offset, updated_at FROM kehu.positions ORDER BY 1, 2, 3"
    return dict_rows(conn, query)


def by_topic(conn: Connection) -> list[Row]:
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
