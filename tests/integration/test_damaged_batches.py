"""What the client cannot read: a batch that was damaged on the broker's disk, and how an operator gets past it."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from aiokafka import TopicPartition

from infra.kafka import codec, raw
from infra.kafka.topics import DEAD_LETTERS, TOPICS
from infra.settings import Settings
from tests.support.apache_kafka import ApacheKafka
from tests.support.cli import kehu
from tests.support.ingesting import Encoded, ingesting, make_anew, publish, survey
from tests.support.letters import dead_letters

SURVEYS = TopicPartition("kehu.surveys", 0)


def surveys(first: int, last: int) -> list[Encoded]:
    return [codec.structured(one) for number in range(first, last) for one in survey(number)]


def damage(folder: Path, what: bytes) -> None:
    """Change bytes of a partition on a broker that does not run."""
    (file,) = (folder / "data" / "kehu.surveys-0").glob("*.log")
    data = file.read_bytes()
    assert what in data
    file.write_bytes(data.replace(what, what.upper()))


@pytest.mark.kafka
def test_a_damaged_batch_stops_its_partition_until_an_operator_goes_past_it(database: str, tmp_path: Path) -> None:
    with ApacheKafka.start(tmp_path) as broker:
        servers = broker.bootstrap_servers
        make_anew(servers, [*TOPICS.values(), DEAD_LETTERS])
        for messages in (surveys(0, 5), surveys(777, 778), surveys(5, 10)):
            asyncio.run(publish(servers, messages, partition=0))
        broker.stop()
        damage(tmp_path, b'"invitation_id":"i777"')
        broker.restart()

        def skip(offset: int) -> tuple[int, str]:
            asked = ("skip-unreadable", "kehu.surveys", "0", str(offset), "--reason", "a disk", "--by", "mira")
            done = kehu("dead-letters", *asked, "--postgres", database, "--kafka", servers)
            return done.code, done.out + done.err

        async def run() -> None:
            async with ingesting(Settings(postgres=database, kafka=servers)) as counted:
                await publish(servers, surveys(10, 20), partition=1)
                await counted.until(30)
                for offset, told in ((0, "can be read"), (11, "does not stand"), (99, "does not stand")):
                    code, said = await asyncio.to_thread(skip, offset)
                    assert (code, told in said) == (1, True), said
                code, said = await asyncio.to_thread(skip, 10)
                assert (code, said) == (0, "kehu.surveys[0] goes on at 12; 2 dead letters keep the reason\n")
                await counted.until(40)

        asyncio.run(run())
        kept = asyncio.run(raw.batch_at(servers, SURVEYS, 10))
    assert kept is not None
    with psycopg.connect(database) as conn:
        positions = (
            "SELECT next_offset, appended, dead FROM kehu.positions WHERE topic = 'kehu.surveys' ORDER BY partition"
        )
        assert conn.execute(positions).fetchall()[:2] == [(22, 20, 2), (20, 20, 0)]
    letters = dead_letters(database)
    assert [(one["kafka_offset"], one["rule"], one["detail"], one["value"]) for one in letters] == [
        (10, "skipped", "skipped by mira: a disk", kept.data),
        (11, "skipped", "skipped by mira: a disk", None),
    ]


@pytest.mark.parametrize("codec_name", [None, "gzip", "snappy", "lz4", "zstd"])
def test_what_the_client_reads_is_read_raw_too(topics: str, codec_name: str | None) -> None:
    messages = [
        (b"k", b"v" * 1000, [("h", b"1"), ("h", b"")]),
        (b"", b"", []),
    ]
    asyncio.run(publish(topics, messages, compression=codec_name, partition=0))
    found = asyncio.run(raw.read(topics, SURVEYS, 0))
    assert [(one.offset, one.key, one.value, list(one.headers)) for one in found] == [
        (offset, *message) for offset, message in enumerate(messages)
    ]
    assert [one.offset for one in asyncio.run(raw.read(topics, SURVEYS, 1))] == [1]
    assert {one.timestamp > 1_700_000_000_000 for one in found} == {True}
    with pytest.raises(raw.Damaged, match="nothing can be read"):
        asyncio.run(raw.read(topics, SURVEYS, 2))
