"""How Python behaves in a process that works through batches, or has several threads that are waited for."""

import gc
import sys

SWITCH = 0.0005
"""Seconds after which a thread gives way to another. With Python's 5 ms one that comes back from PostgreSQL or Kafka
waits so long for each of those that fold, build answers or encode.
"""


def calm_garbage() -> None:
    """Let the collector look less often, and not at what is there already.

    What is imported lives as long as the process, and a batch makes thousands of objects that all die with it: a fifth
    of the time would go into finding nothing.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def give_way_often() -> None:
    """Let no thread of this process hold up the others for long."""
    sys.setswitchinterval(SWITCH)
