"""How a process of a benchmark tells what it has done: JSON lines on its standard output."""

import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import orjson


class Lines:
    """Made before anything else, since Faust puts something of its own in the place of `sys.stdout`."""

    def __init__(self) -> None:
        self._out = sys.stdout.buffer

    def write(self, messages: int) -> None:
        """So many messages are done at this moment of the monotonic clock.

        `cpu` is the seconds of processor that this process has used, `rss` the most memory so far, in MiB, with that
        of the largest process that it started and that has ended.
        """
        now = {
            "at": time.monotonic(),
            "messages": messages,
            "cpu": time.process_time(),
            "rss": peak_rss() + _children(),
        }
        self._out.write(orjson.dumps(now) + b"\n")
        self._out.flush()


def _children() -> float:
    return getrusage(RUSAGE_CHILDREN).ru_maxrss / 1024


def peak_rss(process: int | str = "self") -> float:
    """The most memory a process has had, in MiB. (`getrusage` would count its parent's from before the exec.)"""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
