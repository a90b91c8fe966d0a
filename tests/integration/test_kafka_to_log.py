"""Messages through a real broker into a real event store: four outcomes, and a second worker loses nothing."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import psycopg
from aiokafka import AIOKafkaProducer

from consumers.outcome import Outcome, Outcomes
from domain.survey import SurveyAnswered, SurveyInvited
from domain.values import Fact
from infra import bootstrap
from infra.kafka import codec
from infra.kafka.topics import TOPICS, Topics
from infra.postgres.log import PostgresLog
from infra.settings import Settings
from tests.conftest import Broker
from tests.support.builders import fact

Encoded = tuple[bytes, bytes, list[tuple[str, bytes]]]
CUSTOMERS = 40


def survey(number: int) -> list[Fact]:
    customer, invitation = f"c{number % CUSTOMERS}", f"i{number}"
    invited = SurveyInvited(invitation_id=invitation, metric="csat", scale=5, channel="app")
    answered = SurveyAnswered(invitation_id=invitation, score=number % 5 + 1)
    return [
        fact(invited, f"{number}a", customer=customer),
        fact(answered, f"{number}b", customer=customer),
    ]


async def publish(servers: str, messages: Sequence[Encoded]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=False) as producer:
        sent = [await producer.send("kehu.surveys", v, key=k, headers=h) for k, v, h in messages]
        await asyncio.gather(*sent)


async def work_until(log: PostgresLog, settings: Settings, messages: int) -> Outcomes:
    """Run one worker until it has stored that many messages, then stop it."""
    done, counted = asyncio.Event(), Outcomes()
    loop = asyncio.get_running_loop()

    def count(outcomes: Outcomes, _seconds: float) -> None:
        counted.update(outcomes)
        if sum(counted.values()) >= messages:
            loop.call_soon_threadsafe(done.set)

    async with bootstrap.source(log, settings, count):
        await asyncio.wait_for(done.wait(), 30)
    return counted


def test_good_early_repeated_and_bad_messages_are_all_accounted_for(database: str, broker: Broker) -> None:
    servers = broker.bootstrap_servers
    admin = Topics(servers)
    admin.create(list(TOPICS.values()), partitions=2)
    admin.close()
    facts = [one for number in range(500) for one in survey(number)]
    invited, answered = survey(1000)
    messages = [codec.structured(one) if n % 2 else codec.binary(one) for n, one in enumerate(facts)]
    messages += [codec.structured(facts[n]) for n in range(10)]  # repeated
    messages += [codec.structured(answered), codec.structured(invited)]  # in the wrong order
    messages += [codec.structured(survey(1001)[1])]  # its invitation never comes
    messages += [(b"c1", b"{not json", []) for _ in range(10)]
    log = PostgresLog(database)
    settings = Settings(postgres=database, kafka=servers, group=f"test-{uuid4()}")

    async def run() -> tuple[Outcomes, Outcomes]:
        await publish(servers, messages[:600])
        first = await work_until(log, settings, 600)
        await publish(servers, messages[600:])
        return first, await work_until(log, settings, len(messages) - 600)

    first, second = asyncio.run(run())
    log.close()
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
