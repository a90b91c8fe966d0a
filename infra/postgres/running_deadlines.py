"""Deadlines that are over and were not reported yet, from the read model `deadlines`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from domain.clocks import PRESETS, Which
from domain.complaint import ComplaintDeadlineMissed
from domain.values import CustomerId, Fact, Meta
from infra.postgres.connection import Connection
from projections.deadlines import CLOCKS

# ruff: noqa: S608 (what is put together are names of our own columns; values are always parameters)

SOURCE = "/kehu/clocks"
_LOCK = "SELECT pg_try_advisory_lock(hashtext('kehu-clocks'))"
_OVER = " UNION ALL ".join(
    f"""(SELECT {clock}_due AS due, case_id, '{clock}' AS clock, customer_id, {clock}_preset, {clock}_version
    FROM kehu.deadlines WHERE {clock}_due > %(since)s AND {clock}_due < %(now)s
    AND ({clock}_due, case_id) > (%(after_due)s, %(after_case)s) ORDER BY {clock}_due, case_id LIMIT %(limit)s)"""
    for clock in CLOCKS
)
_OVER += " ORDER BY due, case_id, clock LIMIT %(limit)s"

_BEHIND = """SELECT head.n - p.position FROM kehu.projections p CROSS JOIN kehu.log_head head
    WHERE p.name = 'deadlines'"""
BEHIND = 10_000
"""Events by which the read model may be behind. While it is made anew, cases that are over are open in it."""

_PRESETS = """SELECT statutory_preset AS name, statutory_version AS version FROM kehu.deadlines
        WHERE statutory_preset IS NOT NULL
    UNION SELECT service_preset, service_version FROM kehu.deadlines WHERE service_preset IS NOT NULL"""

Place = tuple[datetime, str]
"""A deadline and its case: where a look ended."""


class RunningDeadlines:
    """Reads what is over. One process at a time gets anything, for as long as its connection lives."""

    def __init__(self, conninfo: str, behind: int = BEHIND) -> None:
        self._behind = behind
        self._connection = Connection(conninfo, "kehu-clocks", tuple_row)
        self._session: object | None = None

    def over(self, now: datetime, since: datetime, limit: int, after: Place | None = None) -> Sequence[Fact]:
        """The misses that nobody has reported, oldest first, each as the fact that reports it.

        Only of deadlines after `since`, and behind a place; none while another process reads them, or while the read
        model is far behind the log. The fact has the same id and time whoever makes it, so the inbox takes it once.
        """
        with self._connection.use() as conn:
            if self._session is not conn:
                locked = conn.execute(_LOCK).fetchone()
                if locked is None or not locked[0]:
                    return ()
                self._session = conn
            behind = conn.execute(_BEHIND).fetchone()
            if behind is None or behind[0] > self._behind:
                return ()
            after_due, after_case = after or (since, "")
            given = {"now": now, "since": since, "after_due": after_due, "after_case": after_case, "limit": limit}
            return [report(*row) for row in conn.execute(_OVER.encode(), given).fetchall()]

    def close(self) -> None:
        """Close the connection, and let another process report."""
        self._connection.close()


def unknown_presets(conn: "psycopg.Connection[dict[str, Any]]") -> list[tuple[str, int]]:
    """The presets of open cases, with their versions, that this process does not know: rules of a bank's own."""
    known = {(one.name, one.version) for one in PRESETS}
    used = {(row["name"], row["version"]) for row in conn.execute(_PRESETS).fetchall()}
    return sorted(used - known)


def report(due: datetime, case: str, clock: Which, customer: str, preset: str, version: int) -> Fact:
    """The fact that a deadline of a case was missed, at its time."""
    data = ComplaintDeadlineMissed(
        complaint_id=case,
        clock=clock,
        preset=preset,
        preset_version=version,
        due_at=due,
    )
    return Fact(data, Meta(f"{case}:{clock}:{due.isoformat()}", SOURCE, CustomerId(customer), due))


def place_of(fact: Fact) -> Place:
    """Where a look that ended with this fact goes on."""
    assert isinstance(fact.data, ComplaintDeadlineMissed)
    return fact.data.due_at, fact.data.complaint_id
