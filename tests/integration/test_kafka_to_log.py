"""Messages through a real broker into a real event store: four outcomes, and a second worker loses nothing."""

import asyncio
from uuid import uuid4

import psycopg

from consumers.outcome import Outcome, Outcomes
from infra.kafka import codec
from infra.settings import Settings
from tests.support.ingesting import ingesting, publish, survey


def test_good_early_repeated_and_bad_messages_are_all_accounted_for(database: str, topics: str) -> None:
    facts = [one for number in range(500) for one in survey(number)]
    invited, answered = survey(1000)
    messages = [codec.structured(one) if n % 2 else codec.binary(one) for n, one in enumerate(facts)]
    messages += [codec.structured(facts[n]) for n in range(10)]  # repeated
    messages += [codec.structured(answered), codec.structured(invited)]  # in the wrong order
    messages += [codec.structured(survey(1001)[1])]  # its invitation never comes
    messages += [(b"c1", b"{not json", []) for _ in range(10)]
    settings = Settings(postgres=database, kafka=topics, group=f"test-{uuid4()}")

    async def work(messages: int) -> Outcomes:
        async with ingesting(settings) as counted:
            await counted.until(messages)
        return counted.outcomes

    async def run() -> tuple[Outcomes, Outcomes]:
        await publish(topics, messages[:600])
        first = await work(600)
        await publish(topics, messages[600:])
        return first, await work(len(messages) - 600)

    first, second = asyncio.run(run())
    assert first[Outcome.APPENDED] == 600
    assert sum(second.values()) == len(messages) - 600
    with psycopg.connect(database) as conn:
        counted = conn.execute(
            "SELECT sum(next_offset), sum(appended), sum(duplicate), sum(parked), sum(dead) FROM kehu.positions"
        ).fetchone()
        assert counted == (len(messages), 1002, 10, 1, 10)
        stored = conn.execute(
            "SELECT (SELECT count(*) FROM kehu.inbox), (SELECT count(*) FROM kehu.parked),"
            " (SELECT count(*) FROM kehu.dead_letters WHERE rule = 'bad-json'),"
            " (SELECT array_agg(DISTINCT notification_id - n) FROM (SELECT notification_id, row_number() OVER"
            " (ORDER BY notification_id) n FROM kehu.stored_events) numbered)"
        ).fetchone()
        assert stored == (1002, 1, 10, [0])
