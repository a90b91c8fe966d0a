"""Publishers and subscribers that are killed while a read model changes, is switched, and its topic is lost.

Example: python -m tests.faults.subscribing --by webhook --restarts 50 --changes 100000
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from threading import Event as Flag
from typing import Any, Literal

import psycopg

from domain.contact import ContactEnded, ContactQueued, ContactStarted
from domain.values import Event
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.failpoints import STEPS
from infra.postgres import webhooks
from infra.postgres.migrate import migrate
from infra.webhooks.signing import new_secret
from projections.service_queues import SERVICE_QUEUES
from projections.views import NAMED, VIEWS
from tests.support.cli import free_port
from tests.support.ingesting import make_anew
from tests.support.processes import KEHU, ROOT, until
from tests.support.views import shown
from tests.support.world import World

VIEW = NAMED["service-queues"]
LONGEST_LIFE = {"topic": 2.0, "webhook": 4.0, "http": 4.0}
"""Seconds after which a process is killed, at most; those that are longer begin later."""


@dataclass
class Report:
    """What was done, and what the subscriber has in the end."""

    changes: int = 0
    kills: int = 0
    switches: int = 0
    topics_lost: int = 0
    rows: int = 0
    effects: int = 0


By = Literal["topic", "webhook", "http"]


def run(postgres: str, kafka: str, folder: Path, *, restarts: int, changes: int, seed: int, by: By = "topic") -> Report:
    """Kill both so often during so many changes. Raises TimeoutError when they do not end with the rows of the view."""
    rng, report = random.Random(seed), Report()
    file, events = folder / "rows.db", contacts(rng, changes)
    with closing(World(postgres)) as world, ExitStack() as running:
        publisher, subscriber = PAIRS[by](postgres, kafka, folder, file)
        for one in (publisher, subscriber):
            running.callback(one.kill)
            one.start(rng)
        for number in range(restarts):
            happened(world, events, changes // restarts, rng)
            if number == restarts // 2:
                world.switch(SERVICE_QUEUES)
                report.switches += 1
            if number == 2 * restarts // 3 and by == "topic":
                make_anew(kafka, [VIEW.topic])
                report.topics_lost += 1
            for one in (publisher, subscriber):
                Flag().wait(rng.random() * LONGEST_LIFE[by])
                one.kill()
                one.start(rng)
                report.kills += 1
        happened(world, events, changes, rng)
        publisher.kill()
        publisher.start(None)
        wanted = {key: row for key, (_, row) in shown(postgres, VIEW).items()}
        until(lambda: rows(file) == wanted, 60)
        report.changes, report.rows = int(world.log.head()), len(wanted)
        report.effects = value(file, "SELECT changes FROM effects")
    return report


def contacts(rng: random.Random, events: int) -> Iterator[Event]:
    """Contacts that come, are answered and, most of them, end."""
    waiting: list[list[Event]] = []
    number = 0
    for _ in range(events):
        if not waiting or rng.random() < 0.4:
            number += 1
            name = f"k{number}"
            ended = [ContactEnded(contact_id=name, resolved=True)] if rng.random() < 0.8 else []
            waiting.append(
                [ContactQueued(contact_id=name, queue="cards", channel="app"), ContactStarted(contact_id=name), *ended]
            )
        at = rng.randrange(len(waiting))
        event = waiting[at].pop(0)
        if not waiting[at]:
            waiting[at] = waiting[-1]
            waiting.pop()
        yield event


def happened(world: World, events: Iterator[Event], number: int, rng: random.Random) -> None:
    """Append and fold so many events, in batches of any size."""
    done = 0
    while done < number:
        size = min(rng.randint(1, 400), number - done)
        batch = list(islice(events, size))
        if not batch:
            return
        world.happens(*batch)
        done += size


class Killed:
    """A process that is killed and started again."""

    step = "published"
    """Where it may end by itself: between an acknowledgement and the mark."""

    def __init__(self, postgres: str, kafka: str, folder: Path, **env: str) -> None:
        self._env = {**os.environ, "KEHU_POSTGRES": postgres, "KEHU_KAFKA": kafka, **env}
        self._log = folder / f"{type(self).__name__}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self, rng: random.Random | None) -> None:
        """With a generator, it may end by itself."""
        env = dict(self._env)
        if rng is not None and self.step in STEPS and rng.random() < 0.5:
            env["KEHU_FAIL"] = f"{self.step}@{rng.randint(1, 4)}=kill"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), cwd=ROOT, env=env, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


class Publisher(Killed):
    """`kehu views publish`."""

    def command(self) -> list[str]:
        return [*KEHU, "views", "publish"]


class Subscriber(Killed):
    """The example, as the how-to guide shows it."""

    def __init__(self, postgres: str, kafka: str, folder: Path, file: Path) -> None:
        super().__init__(postgres, kafka, folder)
        self._file = file

    def command(self) -> list[str]:
        return [sys.executable, "-m", "examples.subscriber", VIEW.topic, str(self._file)]


class Deliverer(Killed):
    """`kehu webhooks deliver`."""

    step = "told"

    def command(self) -> list[str]:
        return [*KEHU, "webhooks", "deliver"]


class Receiver(Killed):
    """The example, as the how-to guide shows it."""

    def __init__(self, postgres: str, kafka: str, folder: Path, file: Path, port: int, secret: str) -> None:
        super().__init__(postgres, kafka, folder, KEHU_WEBHOOK_SECRET=secret)
        self._file, self._port = file, port

    def command(self) -> list[str]:
        return [sys.executable, "-m", "examples.webhook_receiver", str(self._file), "--port", str(self._port)]


class Server(Killed):
    """`kehu serve`."""

    step = "never"

    def __init__(self, postgres: str, kafka: str, folder: Path, port: int, **env: str) -> None:
        super().__init__(postgres, kafka, folder, **env)
        self._port = port

    def command(self) -> list[str]:
        return [*KEHU, "serve", "--port", str(self._port)]


class Follower(Killed):
    """The example, as the how-to guide shows it."""

    def __init__(self, postgres: str, kafka: str, folder: Path, file: Path, port: int, token: str) -> None:
        super().__init__(postgres, kafka, folder, KEHU_TOKEN=token)
        self._file, self._url = file, f"http://127.0.0.1:{port}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "examples.sse_subscriber", VIEW.name, str(self._file), "--url", self._url]


def _by_topic(postgres: str, kafka: str, folder: Path, file: Path) -> tuple[Killed, Killed]:
    return Publisher(postgres, kafka, folder), Subscriber(postgres, kafka, folder, file)


def _by_webhook(postgres: str, kafka: str, folder: Path, file: Path) -> tuple[Killed, Killed]:
    port, secret = free_port(), new_secret()
    with psycopg.connect(postgres) as conn:
        webhooks.add(conn, "killed", f"http://127.0.0.1:{port}/", VIEW.name, None, secret, None)
    deliverer = Deliverer(postgres, kafka, folder, KEHU_WEBHOOK_NETWORKS="127.0.0.0/8")
    return deliverer, Receiver(postgres, kafka, folder, file, port, secret)


def _by_http(postgres: str, kafka: str, folder: Path, file: Path) -> tuple[Killed, Killed]:
    port, env = free_port(), {"KEHU_HTTP_DEVELOPMENT_KEY": str(folder / "key.json")}
    token = subprocess.run(
        [*KEHU, "token"], cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=True
    ).stdout.strip()
    return Server(postgres, kafka, folder, port, **env), Follower(postgres, kafka, folder, file, port, token)


PAIRS: Mapping[By, Callable[[str, str, Path, Path], tuple[Killed, Killed]]] = {
    "topic": _by_topic,
    "webhook": _by_webhook,
    "http": _by_http,
}


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, timeout=10)) as db, db:
        yield db


def rows(file: Path) -> dict[str, Any]:
    """Key -> row, of those that the subscriber has."""
    with opened(file) as db:
        try:
            found = db.execute("SELECT key, row FROM rows WHERE row IS NOT NULL").fetchall()
        except sqlite3.OperationalError:
            return {}
    return {key: json.loads(row) for key, row in found}


def value(file: Path, query: str) -> int:
    with opened(file) as db:
        return int(db.execute(query).fetchone()[0])


def main() -> None:
    """On servers of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.subscribing", description=__doc__)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--by", choices=sorted(PAIRS), default="topic")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kehu-subscribing-", ignore_cleanup_errors=True) as name, ExitStack() as up:
        folder = Path(name)
        folder.chmod(0o755)
        server = up.enter_context(EmbeddedPostgres.start(folder / "postgres"))
        broker = up.enter_context(EmbeddedBroker.start(folder / "broker.log"))
        database = server.create_database("subscribing")
        migrate(database)
        make_anew(broker.bootstrap_servers, [view.topic for view in VIEWS])
        report = run(
            database,
            broker.bootstrap_servers,
            folder,
            restarts=given.restarts,
            changes=given.changes,
            seed=given.seed,
            by=given.by,
        )
    sys.stdout.write(json.dumps(asdict(report)) + "\n")


if __name__ == "__main__":
    main()
