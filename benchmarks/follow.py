"""Followers over HTTP: 500 of them on one process while a view changes 200 times a second.

Contacts come, are answered and end, through a worker of their own. A time is from the moment at which a row was saved,
by PostgreSQL's clock on the same machine, until a follower has it; of what arrives together the oldest counts.
"""

import asyncio
import time
from datetime import datetime

import orjson
from aiokafka import AIOKafkaProducer

from benchmarks import load
from benchmarks.figures import Figure, Figures, Settings, percentile
from benchmarks.http import WrongAnswer, serving
from benchmarks.servers import PATIENCE, Process, start_broker
from infra.kafka.producer import HEADERS
from infra.kafka.topics import TOPICS

FOLLOWERS = 500
RATE = 200
"""Changes of rows a second."""
BAR = 1000
"""Milliseconds."""
TICK = 0.05
MARK = b'"time":"'
EVENTS = ("queued", "started", "ended")


def run(settings: Settings, database: str) -> Figures:
    """The figures; `database` has a schema, and its log may hold anything."""
    with start_broker(settings.broker, settings.folder) as kafka:
        load.prepare(database, kafka)
        command = ("worker", "--postgres", database, "--kafka", kafka, "--group", "bench-follow")
        with Process(settings.folder, "infra.cli", *command), serving(settings, database) as (server, port, token):
            times, told, used = asyncio.run(_followed(kafka, port, token, settings.seconds, server))
            memory = server.peak_rss()
    return {
        "sse_p99_ms": Figure(percentile(times, 99), "ms", BAR, "the bar"),
        "sse_changes": Figure(told / settings.seconds, "changes/s", RATE, "what is asked for"),
        "sse_cpu": Figure(used / settings.seconds, "share of a core"),
        "sse_rss_mb": Figure(memory, "MiB"),
    }


async def _followed(
    kafka: str, port: int, token: str, seconds: float, server: Process
) -> tuple[list[float], int, float]:
    """Milliseconds of each arrival, how many changes one follower was told, and the server's seconds of processor."""
    times: list[float] = []
    counts = [0]
    ready = [asyncio.Event() for _ in range(FOLLOWERS)]
    followers = [asyncio.create_task(_follow(port, token, times, counts, one, n == 0)) for n, one in enumerate(ready)]
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(one.wait() for one in ready))
    await _changing(kafka, 3.0, "warm")  # the worker joins its group
    await _until_told(counts)
    times.clear()
    counts[0] = 0
    before = server.processor_seconds()
    await _changing(kafka, seconds, "run")
    await _until_told(counts)
    used = server.processor_seconds() - before
    for task in followers:
        task.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    return times, counts[0], used


async def _until_told(counts: list[int]) -> None:
    """Until something was told, and then nothing for two seconds. Raises WrongAnswer when nothing ever is."""
    known, began = 0, time.monotonic()
    since = began
    while time.monotonic() - since < 2.0 or not known:
        if counts[0] != known:
            known, since = counts[0], time.monotonic()
        if not known and time.monotonic() - began > PATIENCE:
            raise WrongAnswer("no follower was told anything")
        await asyncio.sleep(0.1)


async def _follow(
    port: int, token: str, times: list[float], counts: list[int], ready: asyncio.Event, counting: bool
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = "/v1/changes?view=service-queues&after=now"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: kehu\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise WrongAnswer(head.decode(errors="replace"))
    ready.set()
    try:
        while part := await reader.read(1 << 20):
            arrived = time.time()
            at = part.find(MARK)
            if at >= 0:
                begin = at + len(MARK)
                saved = datetime.fromisoformat(part[begin : part.index(b'"', begin)].decode()).timestamp()
                times.append((arrived - saved) * 1000)
            if counting:
                counts[0] += part.count(MARK)
    finally:
        writer.close()


async def _changing(kafka: str, seconds: float, name: str) -> None:
    """Contacts that come, are answered and end: `RATE` events a second, each a change of a row."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=False) as producer:
        begin, at_once = time.monotonic(), int(RATE * TICK)
        for first in range(0, int(RATE * seconds), at_once):
            await asyncio.sleep(max(0.0, begin + first / RATE - time.monotonic()))
            for number in range(first, first + at_once):
                # Each event of a contact comes a second after the one before.
                cycle, within = divmod(number, RATE * len(EVENTS))
                step, contact = within // RATE, cycle * RATE + within % RATE
                value = _event(f"{name}-{contact}", EVENTS[step])
                await producer.send(TOPICS["contact"], value, key=b"c%d" % (contact % 500), headers=list(HEADERS))


def _event(contact: str, happened: str) -> bytes:
    customer = f"c{int(contact.rpartition('-')[2]) % 500}"
    more: dict[str, dict[str, object]] = {
        "queued": {"queue": "cards", "channel": "app"},
        "started": {},
        "ended": {"resolved": True},
    }
    data = {"contact_id": contact, **more[happened]}
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{contact}-{happened}",
            "source": "/benchmark",
            "type": f"kehu.contact.{happened}.v1",
            "subject": customer,
            "time": datetime.now().astimezone().isoformat(),
            "data": data,
        }
    )
