"""Work that processes share: what each sends arrives, and what ends one of them is told."""

import os
import signal
import subprocess
import sys
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from threading import Event

import pytest

from infra.spread import ProcessEnded, Send, spread

LONG = 1_000_000
"""Bytes that fit into no pipe."""


def numbers(first: int, send: Send) -> None:
    for n in range(first, first + 3):
        send((n, b"." * LONG))


def fail(send: Send) -> None:
    send("begun")
    raise ValueError("not this one")


def be_killed(send: Send) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(send: Send) -> None:
    send(os.getpid())
    Event().wait()


def test_what_all_works_send_arrives_in_the_order_of_each() -> None:
    found = list(spread([partial(numbers, first) for first in (0, 100, 200)], 2))
    assert {len(data) for _, data in found} == {LONG}
    for first in (0, 100, 200):
        assert [n for n, _ in found if first <= n < first + 100] == [first, first + 1, first + 2]


def test_what_a_work_raises_is_raised_where_its_results_are_taken() -> None:
    taken = spread([fail, partial(numbers, 0)], 2)
    with pytest.raises(ValueError, match="not this one"):
        list(taken)


def test_a_process_that_is_killed_is_no_end_of_the_work() -> None:
    with pytest.raises(ProcessEnded):
        list(spread([be_killed], 1))


def test_who_takes_no_more_ends_the_processes() -> None:
    taken = spread([partial(numbers, 0)], 1)
    assert next(taken)[0] == 0
    taken.close()
    assert active_children() == []


def test_who_is_killed_leaves_no_process_behind_that_has_nothing_to_send() -> None:
    code = f"""import signal; from infra.spread import spread; from {__name__} import wait_for_ever
taken = spread([wait_for_ever], 1); print(next(taken)); signal.pause()"""
    command = [sys.executable, "-uc", code]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        try:
            parent.communicate(timeout=20)  # all who could write to it are gone
        except subprocess.TimeoutExpired:
            os.kill(pid, signal.SIGKILL)
            raise
