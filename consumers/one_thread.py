"""A thread of its own for synchronous code that a service waits for."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class OneThread:
    """Runs calls one after the other, always in the same thread; the event loop goes on meanwhile.

    What has begun ends, also when nobody waits for it any more: a thread cannot be cancelled.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._ended = False

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """What the call returns or raises, when those before it are done.

        Raises CancelledError when the thread was ended: a service that was stopped in the middle of its work did not
        crash.
        """
        if self._ended:
            raise asyncio.CancelledError("the thread was ended")
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)

    def submit(self, call: Callable[[], object]) -> None:
        """Have a call run when those before it are done, and go on."""
        self._pool.submit(call)

    def shutdown(self, *, wait: bool = True) -> None:
        """End the thread when all calls are done, and wait for that."""
        self._ended = True
        self._pool.shutdown(wait=wait)
