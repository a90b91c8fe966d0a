"""A subscriber of a view that keeps its rows in SQLite, for docs/howto/subscribe.md: each change has its effect once.

Rows, the sequence of each, and where to read on are saved in one transaction. So a kill at any moment takes back a
batch as a whole; and what arrives again, or late, is known by its sequence.
"""

import argparse
import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import KafkaAdminClient

from examples import kept_rows

SCHEMA = (
    kept_rows.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS offsets (topic_id TEXT, partition INTEGER, following INTEGER, PRIMARY KEY (partition));
"""
)
LOOK = 10.0
"""Seconds between two looks whether the topic is still the same."""


def apply(db: sqlite3.Connection, messages: Iterable[Any]) -> int:
    """Take messages in; how many were news. One whose sequence is not greater than the row's has been here before."""
    news = 0
    for message in messages:
        row = None if message.value is None else message.value.decode()
        news += kept_rows.take(db, message.key.decode(), dict(message.headers)["ce_sequence"].decode(), row)
    return news


def begin(db: sqlite3.Connection, topic_id: str) -> dict[int, int]:
    """Partition -> where to read on. Of another topic than before, as after a loss, all is read and nothing is kept."""
    with db:
        db.executescript(SCHEMA)
        if db.execute("DELETE FROM offsets WHERE topic_id <> ?", (topic_id,)).rowcount:
            db.execute("DELETE FROM rows")
        return dict(db.execute("SELECT partition, following FROM offsets").fetchall())


async def follow(bootstrap: str, topic: str, file: Path, stop: Callable[[int], bool] = lambda _idle: False) -> None:
    """Follow a view until `stop` says so; it is told how many looks in a row found nothing."""
    while not await _follow(bootstrap, topic, file, stop):
        pass


async def _follow(bootstrap: str, topic: str, file: Path, stop: Callable[[int], bool]) -> bool:
    """The same, and False when the topic is another one by now."""
    topic_id, partitions = await asyncio.to_thread(described, bootstrap, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        with closing(sqlite3.connect(file, timeout=10)) as db:
            following = begin(db, topic_id)
            consumer.assign([TopicPartition(topic, number) for number in partitions])
            for tp in consumer.assignment():
                consumer.seek(tp, following.get(tp.partition, 0))
            idle, looked = 0, monotonic()
            while not stop(idle):
                if monotonic() - looked > LOOK:
                    if await asyncio.to_thread(described, bootstrap, topic) != (topic_id, partitions):
                        return False
                    looked = monotonic()
                found = await consumer.getmany(timeout_ms=200)
                idle = 0 if found else idle + 1
                with db:  # one transaction
                    for tp, messages in found.items():
                        apply(db, messages)
                        read = topic_id, tp.partition, messages[-1].offset + 1
                        db.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", read)
            return True
    finally:
        await consumer.stop()


def described(bootstrap: str, topic: str) -> tuple[str, list[int]]:
    """The id of a topic, and its partitions: a name may come again, an id does not."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        (found,) = admin.describe_topics([topic])
        return str(found["topic_id"]), sorted(one["partition_index"] for one in found["partitions"])


def main() -> None:
    """`python -m examples.subscriber TOPIC FILE`: follow a view into a SQLite file."""
    parser = argparse.ArgumentParser(prog="python -m examples.subscriber", description=__doc__)
    parser.add_argument("topic")
    parser.add_argument("file", type=Path)
    parser.add_argument("--kafka", default=os.environ.get("KEHU_KAFKA"), help="bootstrap servers; default: KEHU_KAFKA")
    parser.add_argument("--until-idle", action="store_true", help="end when nothing came for two seconds")
    given = parser.parse_args()

    def stop(idle: int) -> bool:
        return bool(given.until_idle and idle >= 10)

    asyncio.run(follow(given.kafka, given.topic, given.file, stop))


if __name__ == "__main__":
    main()
