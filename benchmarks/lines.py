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
        """So many messages are done at this moment of the monotonic clock; `rss` is the most memory so far, in MiB."""
        self._out.write(orjson.dumps({"at": time.monotonic(), "messages": messages, "rss": peak_rss()}) + b"\n")
        self._out.flush()


def peak_rss() -> float:
    """The most memory this process has had, in MiB. (`getrusage` would count its parent's from before the exec.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
