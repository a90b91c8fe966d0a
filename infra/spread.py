"""Work that several processes share, and whose results one process takes piece by piece."""

import signal
from collections.abc import Callable, Generator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from infra import interpreter
from infra.errors import KehuError

Send = Callable[[Any], None]
Work = Callable[[Send], None]
"""What is done in another process: it sends what it finds. It is pickled, and so is what it sends."""


class ProcessEnded(KehuError):
    """A process of this command was ended from outside. Run the command again; with less memory, by one process."""


def spread(works: Sequence[Work], processes: int) -> Generator[Any, None, None]:
    """What the works send, as it comes. What one of them raises is raised here, and the others are ended.

    A process waits while what it sent is not taken, and ends with the one that takes it.
    """
    context = get_context("spawn")
    started = []
    try:
        for number in range(min(processes, len(works))):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(theirs, works[number::processes]), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process is the end of what can be received
            started.append((process, ours))
        left = [ours for _, ours in started]
        while left:
            for ours in [one for one in wait(left) if isinstance(one, Connection)]:
                found, error, over = _received(ours)
                if error is not None:
                    raise error
                if over:
                    left.remove(ours)
                else:
                    yield found
    finally:
        for process, ours in started:
            process.terminate()
            process.join()
            ours.close()


def _received(ours: Connection) -> tuple[Any, BaseException | None, bool]:
    try:
        found: tuple[Any, BaseException | None, bool] = ours.recv()
    except EOFError:
        return None, ProcessEnded("it had not sent all"), True
    return found


def _work(theirs: Connection, works: Sequence[Work]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all: the one that takes ends the others
    interpreter.calm_garbage()
    try:
        for work in works:
            work(lambda found: theirs.send((found, None, False)))
        theirs.send((None, None, True))
    except BrokenPipeError:
        return  # nobody takes it any more
    except Exception as error:
        theirs.send((None, error, True))
