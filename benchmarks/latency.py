"""Group latency: from the moment a channel sends a message until it is committed, and until every read model shows it.

The worker is `kehu worker` with all its services. Triggers of the benchmark notify when a transaction moved the log or
a projection; PostgreSQL delivers that after the commit, so a time is when another client can see the change.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Thread

import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks import load
from benchmarks.figures import Figure, Figures, Settings, percentile
from benchmarks.servers import Process, fresh_database, start_broker, start_postgres
from infra.kafka.producer import HEADERS, Encoded
from projections.catalogue import ALL

RATE = 2000
"""Messages a second."""
TICK = 0.01
WATCHED = ("log", *(projection.name for projection in ALL))
Mark = tuple[float, int]
"""When it was seen, and the position that it had come to."""

_TRIGGERS = """
CREATE FUNCTION bench_log() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('bench', 'log ' || NEW.n); RETURN NULL; END $$;
CREATE FUNCTION bench_projection() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('bench', NEW.name || ' ' || NEW.position); RETURN NULL; END $$;
CREATE TRIGGER bench AFTER UPDATE ON kehu.log_head FOR EACH ROW EXECUTE FUNCTION bench_log();
CREATE TRIGGER bench AFTER UPDATE ON kehu.projection_builds FOR EACH ROW EXECUTE FUNCTION bench_projection();
"""


@dataclass(slots=True)
class Watch:
    """Listens for marks of the log and of each projection."""

    postgres: str
    marks: dict[str, list[Mark]] = field(default_factory=lambda: {name: [] for name in WATCHED})
    _stop: Event = field(default_factory=Event)
    _ready: Event = field(default_factory=Event)
    _thread: Thread = field(init=False)

    def __enter__(self) -> "Watch":
        with psycopg.connect(self.postgres) as conn:
            conn.execute(_TRIGGERS)
        self._thread = Thread(target=self._listen)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        with psycopg.connect(self.postgres, autocommit=True) as conn:
            conn.execute("LISTEN bench")
            self._ready.set()
            while not self._stop.is_set():
                for notification in conn.notifies(timeout=0.2):
                    name, _, position = notification.payload.rpartition(" ")
                    self.marks[name].append((time.monotonic(), int(position)))

    def seen(self, name: str, position: int) -> float:
        """When the position was first reached."""
        marks = self.marks[name]
        return marks[bisect_left(marks, position, key=lambda mark: mark[1])][0]

    def reached(self, position: int) -> bool:
        """Whether the log and every projection have come so far."""
        return all(marks and marks[-1][1] >= position for marks in self.marks.values())


def run(settings: Settings) -> Figures:
    """All figures of the group."""
    number = settings.events or int(RATE * settings.seconds)
    encoded = load.messages(number, defects=False)
    with start_postgres(settings.folder) as server, fresh_database(server) as database:
        with start_broker(settings.broker, settings.folder) as kafka:
            load.prepare(database, kafka)
            bare = asyncio.run(_bare(kafka, encoded[: max(number // 4, 100)]))
        with start_broker(settings.broker, settings.folder) as kafka:
            load.prepare(database, kafka)
            times = _worked(settings, database, kafka, encoded)
    committed, shown, whole = ([row[n] * 1000 for row in times] for n in range(3))
    limit = percentile(bare, 50) * 1000, percentile(bare, 99) * 1000
    consumer = "a bare consumer receives the message"
    commit_p99 = percentile(committed, 99)
    return {
        "produce_to_commit_p50_ms": Figure(percentile(committed, 50), "ms", limit[0], consumer),
        "produce_to_commit_p99_ms": Figure(commit_p99, "ms", limit[1], consumer),
        "commit_to_visible_p50_ms": Figure(percentile(shown, 50), "ms"),
        "commit_to_visible_p99_ms": Figure(percentile(shown, 99), "ms"),
        "produce_to_visible_p99_ms": Figure(percentile(whole, 99), "ms", commit_p99, "produce to commit"),
    }


def _worked(settings: Settings, database: str, kafka: str, encoded: Sequence[Encoded]) -> list[tuple[float, ...]]:
    """For each message that led to events: seconds to its commit, from there to all read models, and both together."""
    command = ("worker", "--postgres", database, "--kafka", kafka, "--group", "bench")
    warm, measured = encoded[: len(encoded) // 10], encoded[len(encoded) // 10 :]
    with Watch(database) as watch, Process(settings.folder, "infra.cli", *command) as worker:
        # The first messages wait for the worker to start and to join its group; they are not counted.
        load.publish(kafka, warm)
        worker.wait_until(lambda: load.read(database) >= len(warm) and watch.reached(_head(database)))
        sent = asyncio.run(_paced(kafka, measured))
        worker.wait_until(lambda: load.read(database) >= len(encoded) and watch.reached(_head(database)))
    times: list[tuple[float, ...]] = []
    for event_id, position in _positions(database):
        if event_id in sent:
            commit = watch.seen("log", position)
            visible = max(watch.seen(projection.name, position) for projection in ALL)
            times.append((commit - sent[event_id], max(visible - commit, 0.0), visible - sent[event_id]))
    return times


async def _paced(kafka: str, encoded: Sequence[Encoded]) -> dict[str, float]:
    """Send the messages at `RATE`; event id -> when it was handed to the producer."""
    sent = {}
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=False) as producer:
        begin, at_once = time.monotonic(), int(RATE * TICK)
        for first in range(0, len(encoded), at_once):
            await asyncio.sleep(max(0.0, begin + first / RATE - time.monotonic()))
            for topic, key, value in encoded[first : first + at_once]:
                sent[_id(value)] = time.monotonic()
                await producer.send(topic, value, key=key, headers=list(HEADERS))
    return sent


async def _bare(kafka: str, encoded: Sequence[Encoded]) -> list[float]:
    """Seconds from sending a message until a consumer without a store has it."""
    topics = {topic for topic, _, _ in encoded}
    received: dict[str, float] = {}
    async with AIOKafkaConsumer(*topics, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:

        async def receive() -> None:
            while len(received) < len(encoded):
                polled = await consumer.getmany(timeout_ms=200)
                at = time.monotonic()
                received.update((_id(record.value), at) for records in polled.values() for record in records)

        receiving = asyncio.create_task(receive())
        sent = await _paced(kafka, encoded)
        await asyncio.wait_for(receiving, 30)
    return [received[one] - at for one, at in sent.items()]


def _id(value: bytes | None) -> str:
    return str(orjson.loads(value or b"")["id"])


def _head(database: str) -> int:
    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT n FROM kehu.log_head").fetchone()
    assert row is not None
    return int(row[0])


def _positions(database: str) -> list[tuple[str, int]]:
    """Event id -> the last position of what the message led to."""
    query = "SELECT meta->>'id', max(position) FROM kehu.event_log GROUP BY 1"
    with psycopg.connect(database) as conn:
        return [(str(one), int(position)) for one, position in conn.execute(query)]
