"""A deadline that passes becomes one event: also after a restart, a rebuild, and with two workers."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import psycopg

from domain.complaint import ComplaintOpened, ComplaintReopened, ComplaintResolved
from domain.values import Fact
from infra.bootstrap import now
from infra.kafka import codec
from tests.support.builders import fact
from tests.support.ingesting import publish
from tests.support.processes import Kehu, until

MISSED = "complaint.deadline-missed.v1"
COUNT = f"SELECT count(*) FROM kehu.stored_events WHERE topic = '{MISSED}'"
WAITING = "SELECT count(*) FROM kehu.deadlines WHERE statutory_due < now() OR service_due < now()"
SENT = "SELECT coalesce(sum(next_offset), 0) FROM kehu.positions WHERE topic = 'kehu.complaints'"


def send(kehu: Kehu, *facts: Fact) -> None:
    asyncio.run(publish(kehu.kafka, [codec.structured(one) for one in facts], "kehu.complaints"))


def misses(kehu: Kehu) -> list[tuple[str, str, str, str]]:
    """Stream, clock, preset and who said it, of each missed deadline."""
    with psycopg.connect(kehu.postgres) as conn:
        return conn.execute(
            "SELECT originator_id, s -> 'data' ->> 'clock', s -> 'data' ->> 'preset', s -> 'meta' ->> 'source'"
            " FROM kehu.stored_events CROSS JOIN LATERAL (SELECT convert_from(state, 'UTF8')::jsonb AS s) said"
            " WHERE topic = %s ORDER BY 1, 2, 3",
            (MISSED,),
        ).fetchall()


def test_each_missed_deadline_is_one_event(kehu: Kehu) -> None:
    kehu = replace(kehu, missed_for="P30D")
    start = now() - timedelta(days=12)
    summary = ComplaintOpened(complaint_id="p", channel="app", regime="uk_disp_summary", severity=1)
    in_time = ComplaintOpened(complaint_id="q", channel="app", severity=1)
    resolved = ComplaintResolved(complaint_id="q", outcome="upheld", reasons="r", onward_rights="o")
    long_ago = ComplaintOpened(complaint_id="r", channel="app", regime="service_always")
    send(
        kehu,
        fact(summary, "1", at=start),
        fact(in_time, "2", at=start),
        fact(resolved, "3", at=start + timedelta(minutes=1)),
        fact(long_ago, "4", at=now() - timedelta(days=200)),
    )
    expected = [
        ("complaint-p", "service", "service_default", "/kehu/clocks"),
        ("complaint-p", "statutory", "uk_disp_summary", "/kehu/clocks"),
    ]
    with kehu.worker():
        until(lambda: kehu.one(COUNT) == 2 and kehu.all_folded())
        assert misses(kehu) == expected
        assert kehu.one(SENT) == 6
    # A read model that is made anew, in a worker that remembers nothing, and one more beside it.
    kehu.done("rebuild", "deadlines", "--switch")
    with kehu.worker(), kehu.worker():
        anew = ComplaintReopened(complaint_id="q", reason="new documents", new_facts=True)
        send(kehu, fact(anew, "5", at=start + timedelta(days=1)))
        until(lambda: kehu.one(COUNT) == 3 and kehu.all_folded())
    assert misses(kehu) == [*expected, ("complaint-q", "service", "service_default", "/kehu/clocks")]
    assert kehu.one(SENT) == 8, "each miss was said once"
    assert kehu.one(WAITING) == 1, "what passed long ago is not reported"
    kehu.done("show", "reconciliation")
