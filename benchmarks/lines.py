"""How a process of a benchmark tells what it has done: JSON lines on its standard output."""

import sys
import time
from pathlib import Path

import orjson


class Lines:
    """Made before anything else, since Faust puts something of its own in the place of `sys.stdout`."""

    def __init__(self) -> None:
        self._out = sys.stdout.buffer

    def write(self, messages: int) -> None:
        """So many messages are done at this moment of the monotonic clock.

        `cpu` is the seconds of processor that this process has used, `rss` the most memory so far, in MiB.
        """
        now = {"at": time.monotonic(), "messages": messages, "cpu": time.process_time(), "rss": peak_rss()}
        self._out.write(orjson.dumps(now) + b"\n")
        self._out.flush()


def peak_rss() -> float:
    """The most memory this process has had, in MiB. (`getrusage` would count its parent's from before the exec.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
