"""A thread for synchronous code: what has begun ends, and what comes after its end is cancelled and no crash."""

import asyncio

import pytest
from mode import Service

from consumers.one_thread import OneThread


def test_calls_run_one_after_the_other_in_the_same_thread() -> None:
    async def ask() -> list[int]:
        thread = OneThread("asked")
        return await asyncio.gather(*(thread.run(pow, n, 2) for n in range(3)))

    assert asyncio.run(ask()) == [0, 1, 4]


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(OneThread("asked").run(divmod, 1, 0))


class Busy(Service):  # type: ignore[misc]
    """Asks its thread again and again, also while it is being stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = OneThread("busy")
        self.asked = asyncio.Event()

    async def on_stop(self) -> None:
        self.thread.shutdown()

    @Service.task  # type: ignore[untyped-decorator]
    async def _ask(self) -> None:
        while True:
            await self.thread.run(int)
            self.asked.set()


def test_a_service_that_is_stopped_in_the_middle_of_its_work_did_not_crash() -> None:
    async def stopped() -> Busy:
        service = Busy()
        await service.start()
        await service.asked.wait()
        await service.stop()
        return service

    service = asyncio.run(stopped())
    assert service.crash_reason is None
