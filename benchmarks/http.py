"""What the HTTP server does on one core: a customer's page, over connections that stay open, each with its token
checked and its read recorded, asked in a closed loop by a few connections at once; and the memory that exports take.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection

from benchmarks import customers
from benchmarks.figures import Settings, percentile
from benchmarks.servers import Process
from infra.embedded.broker import answers, free_port
from infra.http.keys import DevelopmentKey
from infra.http.scopes import VIEWS
from infra.http.tokens import development_token

CONNECTIONS = 8


class WrongAnswer(Exception):
    """The server did not answer with a customer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests a second, the 99th percentile of their times in milliseconds, and microseconds of processor for each."""

    rate: float
    p99: float
    cpu: float


@contextmanager
def serving(settings: Settings, database: str) -> Iterator[tuple[Process, int, str]]:
    """A server of its own, its port, and a token that may read all views."""
    path, port = settings.folder / "development-key.json", free_port()
    key = DevelopmentKey(path)
    token = development_token(key, "kehu", 3600, [VIEWS], ["*"], ["*"], ["*"], "benchmark")
    with Process(settings.folder, "benchmarks.served", database, str(port), str(path)) as process:
        process.wait_until(lambda: answers(port))
        yield process, port, token


def exported(settings: Settings, database: str) -> tuple[int, float]:
    """The rows of one export of all risks in each form, and the most memory of the server by then, in MiB."""
    with serving(settings, database) as (process, port, token), closing(HTTPConnection("127.0.0.1", port)) as asked:
        rows = 0
        for form in ("csv", "ndjson"):
            asked.request("GET", f"/v1/retention-risk?format={form}", headers={"Authorization": f"Bearer {token}"})
            answer, rows = asked.getresponse(), 0
            if answer.status != 200:
                raise WrongAnswer(answer.read().decode(errors="replace"))
            while part := answer.read(1 << 16):
                rows += part.count(b"\n")
        return rows, process.peak_rss()


def run(settings: Settings, database: str, number: int) -> list[Asked]:
    """One finding for each round, of so many seconds; the first second is not counted."""
    with serving(settings, database) as (process, port, token):
        asyncio.run(_ask(port, token, number, 1.0))
        found = []
        for _ in range(settings.rounds):
            used, began = process.processor_seconds(), time.perf_counter()
            times = asyncio.run(_ask(port, token, number, settings.seconds))
            seconds = time.perf_counter() - began
            cpu = (process.processor_seconds() - used) / len(times) * 1e6
            found.append(Asked(len(times) / seconds, percentile(times, 99) * 1000, cpu))
        return found


async def _ask(port: int, token: str, number: int, seconds: float) -> list[float]:
    until = time.perf_counter() + seconds
    found = await asyncio.gather(*(_one(port, token, number, until, seed) for seed in range(CONNECTIONS)))
    return [one for times in found for one in times]


async def _one(port: int, token: str, number: int, until: float, seed: int) -> list[float]:
    """By hand: a client that costs as much as the server would measure itself."""
    rng, times = random.Random(seed), []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = f"HTTP/1.1\r\nHost: kehu\r\nAuthorization: Bearer {token}\r\nX-Purpose: benchmark\r\n\r\n"
    while (began := time.perf_counter()) < until:
        writer.write(f"GET /v1/customers/{customers.name(rng.randrange(number) + 1)} {headers}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise WrongAnswer(head.decode(errors="replace"))
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        times.append(time.perf_counter() - began)
    writer.close()
    return times
