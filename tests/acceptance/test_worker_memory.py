"""How much memory a worker takes: bounded by what it fetches at once, not by what waits for it."""

import asyncio
from os import urandom
from pathlib import Path

from infra.kafka import codec
from tests.support.ingesting import Encoded, publish, survey
from tests.support.processes import Kehu, until

LARGE, MESSAGES = 600_000, 600
MOST = 350
"""MiB: what an idle worker takes, and two batches of what is fetched at once; the backlog is as large."""


def large(number: int) -> Encoded:
    """A message below the limit of size that no event fits, and that does not compress."""
    key, _, headers = codec.structured(survey(number)[0])
    return key, b'{"filler": "%b"}' % urandom(LARGE // 2).hex().encode(), headers


def peak(pid: int) -> int:
    """The most memory that a process has had, in MiB."""
    (line,) = (one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def test_a_backlog_that_is_larger_than_the_memory_it_may_take_is_read(kehu: Kehu) -> None:
    for first in range(0, MESSAGES, 50):
        asyncio.run(publish(kehu.kafka, [large(number) for number in range(first, first + 50)]))
    good = [codec.structured(one) for number in range(200) for one in survey(number)]
    asyncio.run(publish(kehu.kafka, good))
    with kehu.worker() as worker:
        until(lambda: kehu.read() == MESSAGES + len(good), 120)
        assert peak(worker.pid) < MOST
    assert kehu.one("SELECT sum(appended)::int FROM kehu.positions") == len(good)
    assert kehu.one("SELECT count(*) FROM kehu.dead_letters WHERE rule = 'bad-envelope'") == MESSAGES
    assert kehu.one(f"SELECT sum(length(value)) >= {MESSAGES * LARGE} FROM kehu.dead_letters")
