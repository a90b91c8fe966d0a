"""Followers of a view end with exactly its rows: cut off at any part, over switches, slow, and with few rights."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from domain.customer import CustomerProfileChanged, CustomerRegistered
from infra.http import answers, hub, tails
from infra.http.hub import Hub, Sight
from infra.http.tails import read_place
from projections.customers import CUSTOMERS
from projections.service_queues import SERVICE_QUEUES
from projections.views import NAMED, View
from tests.support.sse import EventSource
from tests.support.views import shown
from tests.support.world import World, arrives, is_seen_to, leaves, troubles

QUEUES = NAMED["service-queues"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "COALESCE", 0.01)


class Impatient:
    """The log may have moved at any time."""

    def wait(self, seconds: float) -> None:
        assert seconds > 0

    def close(self) -> None:
        pass


@asynccontextmanager
async def following(world: World) -> AsyncIterator[Hub]:
    made = Hub(world.database, Impatient())
    try:
        yield made
    finally:
        await made.close()


async def read(
    of: Hub, view: View, into: EventSource, until: Callable[[], bool], sees: Sight | None = None, seconds: float = 20
) -> None:
    """Follow from where the reader is until a condition is met, then break the connection."""
    token = None if into.last_id is None else read_place(into.last_id)[0]
    into.connected()
    async with asyncio.timeout(seconds), aclosing(of.follow(view, token, sees)) as parts:
        async for part in parts:
            into.take(part)
            if until():
                return


def has_keys(into: EventSource, wanted: set[str]) -> Callable[[], bool]:
    return lambda: set(into.rows) == wanted


def only(**place: str) -> Sight:
    """Who may see the rows of one branch, or of one segment."""
    return Sight(lambda row: all(row[name] == value for name, value in place.items()), "some")


def has_rows(world: World, into: EventSource, view: View = QUEUES) -> Callable[[], bool]:
    wanted = shown(world.database, view)
    return lambda: into.rows == wanted


@pytest.mark.parametrize("seed", range(3))
def test_a_reader_that_is_cut_off_at_any_part_ends_with_the_rows(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PART", 200)
    monkeypatch.setattr(hub, "AT_ONCE", 3)
    rng = random.Random(seed)

    async def run() -> None:
        reader, here, number = EventSource(), list[int](), 0
        steady = EventSource()
        async with following(world) as of:
            stays = asyncio.create_task(read(of, QUEUES, steady, lambda: False))
            for turn in range(25):
                for _ in range(rng.randint(0, 6)):
                    number += 1
                    world.happens(*arrives(number), customer=f"c{number % 9}")
                    here.append(number)
                for one in [here.pop(rng.randrange(len(here))) for _ in range(min(len(here), rng.randint(0, 4)))]:
                    world.happens(*leaves(one), customer=f"c{one % 9}")
                if turn % 8 == 7:
                    world.switch(SERVICE_QUEUES)
                if turn == 18:
                    world.roll_back(SERVICE_QUEUES)
                left = rng.randint(1, 6)

                def enough() -> bool:
                    nonlocal left
                    left -= 1
                    return left <= 0

                met = has_rows(world, reader)
                await read(of, QUEUES, reader, lambda met=met: enough() or met())  # type: ignore[misc]
            await read(of, QUEUES, reader, has_rows(world, reader))
            met = has_rows(world, steady)
            async with asyncio.timeout(20):
                while not met():
                    await asyncio.sleep(0.01)
            stays.cancel()
            assert of.followers == 0 or await asyncio.wait([stays])
        kinds = [kind for kind, _ in steady.told]
        assert kinds.count("restarted") == kinds.count("complete") <= 1 + 4
        assert "cut" not in kinds

    asyncio.run(run())


def test_who_has_everything_is_told_only_what_changes_then(world: World) -> None:
    async def run() -> None:
        reader = EventSource()
        world.happens(*arrives(1))
        async with following(world) as of:
            await read(of, QUEUES, reader, lambda: reader.last_id is not None)
            assert [kind for kind, _ in reader.told] == ["restarted", "changed", "complete"]
            reader.told.clear()
            world.happens(*arrives(2))
            world.happens(*leaves(1))
            await read(of, QUEUES, reader, has_rows(world, reader))
            assert [(kind, said["subject"]) for kind, said in reader.told] == [
                ("changed", "contact-k2"),
                ("removed", "contact-k1"),
            ]

    asyncio.run(run())


def test_a_slow_reader_is_cut_off_with_a_token_and_misses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails.Tail.__init__, "__defaults__", (2000,))

    async def run() -> None:
        slow, quick = EventSource(), EventSource()
        async with following(world) as of:
            async with asyncio.timeout(60), aclosing(of.follow(QUEUES, None, None)) as parts:
                async for part in parts:
                    slow.take(part)
                    if "contact-k100" in slow.rows:
                        break
                    if slow.last_id is not None:
                        world.happens(*arrives(100))  # which it is told from the tail
                for number in range(40):
                    world.happens(*arrives(number))
                    await read(of, QUEUES, quick, has_rows(world, quick))
                async for part in parts:
                    slow.take(part)
            assert slow.told[-1][0] == "cut"
            assert len(slow.rows) < 40
            await read(of, QUEUES, slow, has_rows(world, slow))
            assert [kind for kind, _ in slow.told].count("restarted") == 1, "it is told what it missed, not everything"

    asyncio.run(run())


def test_who_may_see_some_rows_is_told_those_and_goes_on_behind_the_others(world: World) -> None:
    async def run() -> None:
        reader, sees = EventSource(), only(segment="private")
        customers = NAMED["customers"]
        async with following(world) as of:
            for customer, segment in (("c1", "private"), ("c2", "retail")):
                world.happens(CustomerRegistered(kind="person", segment=segment), customer=customer)
            await read(of, customers, reader, lambda: reader.last_id is not None, sees)
            assert set(reader.rows) == {"c1"}
            before = reader.last_id
            world.happens(CustomerProfileChanged(branch="b1"), customer="c2")
            await read(of, customers, reader, lambda: reader.last_id != before, sees)
            assert {said.get("subject") for _, said in reader.told} == {None, "c1"}
            reader.told.clear()
            world.happens(CustomerProfileChanged(branch="b2"), customer="c1")
            await read(of, customers, reader, lambda: bool(reader.told), sees)
            assert [said["subject"] for _, said in reader.told] == ["c1"]

    asyncio.run(run())


def test_a_row_that_moves_out_of_sight_is_removed_for_who_had_it_and_nobody_else_hears_of_it(world: World) -> None:
    customers = NAMED["customers"]

    async def run() -> None:
        private, retail, all_of_it = EventSource(), EventSource(), EventSource()
        async with following(world) as of:

            async def given(customer: str, segment: str) -> None:
                world.happens(CustomerProfileChanged(segment=segment), customer=customer)

            async def then(**rows: str) -> None:
                """Whoever goes on from its own token, wherever that is, has the rows that it may see."""
                for reader, segment in ((private, "private"), (retail, "retail")):
                    wanted = {key for key, there in rows.items() if there == segment}
                    await read(of, customers, reader, has_keys(reader, wanted), only(segment=segment))
                await read(of, customers, all_of_it, has_rows(world, all_of_it, customers))

            for customer, segment in (("c1", "private"), ("c2", "retail"), ("c3", "other"), ("c4", "other")):
                world.happens(CustomerRegistered(kind="person", segment=segment), customer=customer)
            await then(c1="private", c2="retail")
            await given("c1", "retail")
            await then(c1="retail", c2="retail")
            # There and back, and away again, between two looks.
            await given("c2", "private")
            await given("c2", "other")
            await given("c1", "private")
            await given("c1", "other")
            await then()
            await given("c3", "private")
            await then(c3="private")
            await given("c4", "another")
            world.switch(CUSTOMERS)
            await given("c3", "retail")
            await then(c3="retail")
            await given("c3", "private")
            world.switch(CUSTOMERS)
            await then(c3="private")
            await given("c3", "retail")
            world.roll_back(CUSTOMERS)
            await then(c3="retail")
        # Of c2, which was there and gone again before anybody looked, it hears that it is gone.
        assert {said["subject"] for kind, said in private.told if kind == "changed"} == {"c1", "c3"}
        assert not [said for _, said in (*private.told, *retail.told) if said.get("subject") == "c4"]
        assert "removed" not in {kind for kind, _ in all_of_it.told}

    asyncio.run(run())


def test_of_a_row_that_is_gone_hears_only_who_saw_it(world: World) -> None:
    async def run() -> None:
        north, south = EventSource(), EventSource()
        alerts = NAMED["deadline-alerts"]
        world.happens(*troubles(1))  # in the north
        async with following(world) as of:
            await read(of, alerts, north, lambda: len(north.rows) == 1, only(branch="north"))
            await read(of, alerts, south, lambda: south.last_id is not None, only(branch="south"))
            world.happens(*is_seen_to(1))
            before = south.last_id
            await read(of, alerts, north, lambda: not north.rows, only(branch="north"))
            await read(of, alerts, south, lambda: south.last_id != before, only(branch="south"))
            assert [kind for kind, _ in north.told] == ["restarted", "changed", "complete", "removed"]
            assert [kind for kind, _ in south.told] == ["restarted", "complete"]

    asyncio.run(run())


def test_nobody_reads_the_store_when_nobody_follows(world: World) -> None:
    async def run() -> None:
        reader = EventSource()
        async with following(world) as of:
            await read(of, QUEUES, reader, lambda: True)
            assert of.followers == 0
            async with asyncio.timeout(5):
                while of.reads:
                    await asyncio.sleep(0.01)
            world.happens(*arrives(1))
            await read(of, QUEUES, reader, has_rows(world, reader))

    asyncio.run(run())
