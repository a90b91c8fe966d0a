"""How Python's garbage collector behaves in a process that works through batches."""

import gc


def calm() -> None:
    """Let it look less often, and not at what is there already.

    What is imported lives as long as the process, and a batch makes thousands of objects that all die with it: a fifth
    of the time would go into finding nothing.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
