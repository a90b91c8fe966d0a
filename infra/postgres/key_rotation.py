"""Data keys under another master key: they are wrapped anew, and stay the keys that they were."""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from infra.master_keys import MasterKeys
from infra.postgres.arrays import lines

Connection = psycopg.Connection[Any]

AT_ONCE = 1000
"""Data keys that are wrapped in one transaction."""
_OLDER = """SELECT customer_id, master, wrapped FROM kehu.data_keys
    WHERE master <> %s AND wrapped IS NOT NULL ORDER BY customer_id LIMIT %s FOR UPDATE"""
# One that was destroyed meanwhile was locked by whoever did it, and is not found above.
_WRAP = """UPDATE kehu.data_keys k SET master = %b, wrapped = new.wrapped
    FROM unnest(string_to_array(%b, chr(10)), %b::bytea[]) AS new (customer_id, wrapped)
    WHERE k.customer_id = new.customer_id"""
_COUNTED = """SELECT master, count(*) AS keys, min(made_at) AS oldest, max(made_at) AS newest FROM kehu.data_keys
    GROUP BY master ORDER BY master NULLS LAST"""


def older(conn: Connection, current: str) -> int:
    """How many data keys are wrapped under another master key than the current one."""
    with conn.transaction():
        return sum(row["keys"] for row in counted(conn, current) if row["state"] == "former")


def rotate(conn: Connection, master: MasterKeys, told: Callable[[int], None] = lambda _keys: None) -> int:
    """Wrap all data keys under the current master key; how many were not.

    `told` hears how many were wrapped since. Raises MasterKeyMissing.
    """
    done = 0
    while True:
        with conn.transaction(), conn.cursor(row_factory=tuple_row, binary=True) as cur:
            rows = cur.execute(_OLDER, (master.current, AT_ONCE)).fetchall()
            if not rows:
                return done
            wrapped = [master.wrap(customer, master.unwrap(former, customer, key)) for customer, former, key in rows]
            cur.execute(_WRAP, (master.current, lines([row[0] for row in rows]), wrapped))
        done += len(rows)
        told(len(rows))


def counted(conn: Connection, current: str) -> list[dict[str, Any]]:
    """How many data keys are wrapped under each master key; `master` is None for those that were destroyed."""
    found = []
    for row in conn.execute(_COUNTED).fetchall():
        state = "destroyed" if row["master"] is None else "current" if row["master"] == current else "former"
        found.append({"master": row["master"], "state": state, **{n: row[n] for n in ("keys", "oldest", "newest")}})
    return found
