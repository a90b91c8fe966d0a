"""A subscriber of a view that keeps its rows in SQLite, for docs/howto/subscribe.md: each change has its effect once.

Rows, the sequence of each, and where to read on are saved in one transaction. So a kill at any moment takes back a
batch as a whole; and what arrives again, or late, is known by its sequence.
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, sequence TEXT NOT NULL, row TEXT);
CREATE TABLE IF NOT EXISTS offsets (partition INTEGER PRIMARY KEY, following INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS effects (changes INTEGER NOT NULL);
INSERT INTO effects SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM effects);
"""


def apply(db: sqlite3.Connection, messages: Iterable[Any]) -> int:
    """Take messages in; how many were news. One whose sequence is not greater than the row's has been here before."""
    news = 0
    for message in messages:
        key, sequence = message.key.decode(), dict(message.headers)["ce_sequence"].decode()
        known = db.execute("SELECT sequence FROM rows WHERE key = ?", (key,)).fetchone()
        if known is not None and known[0] >= sequence:
            continue
        # A removed row leaves its sequence: what is older may still arrive. Forget it after a week, like the topic.
        row = None if message.value is None else message.value.decode()
        db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (key, sequence, row))
        news += 1
    db.execute("UPDATE effects SET changes = changes + ?", (news,))  # stands for whatever must happen once
    return news


async def follow(
    bootstrap: str, topic: str, file: Path, stop: Callable[[int], bool] = lambda _idle: False
) -> None:  # pragma: no cover - runs in processes of its own
    """Follow a view until `stop` says so; it is told how many looks in a row found nothing."""
    with closing(sqlite3.connect(file)) as db:
        db.executescript(SCHEMA)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            for tp in partitions:
                known = db.execute("SELECT following FROM offsets WHERE partition = ?", (tp.partition,)).fetchone()
                consumer.seek(tp, known[0]) if known else await consumer.seek_to_beginning(tp)
            idle = 0
            while not stop(idle):
                found = await consumer.getmany(timeout_ms=200)
                idle = 0 if found else idle + 1
                with db:  # one transaction
                    for tp, messages in found.items():
                        apply(db, messages)
                        db.execute(
                            "INSERT OR REPLACE INTO offsets VALUES (?, ?)", (tp.partition, messages[-1].offset + 1)
                        )
        finally:
            await consumer.stop()
