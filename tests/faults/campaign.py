"""A seeded campaign of faults against real servers: `python -m tests.faults.campaign --faults 60 --seed 1`.

Each round publishes a chunk, lets two workers read it that are killed, frozen or cut off at named steps, restarts
servers under them, and ends with a quiet worker that catches up. After each round the checker looks at everything.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import psycopg
from aiokafka import AIOKafkaProducer

from infra.embedded.broker import EmbeddedBroker
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.topics import TOPICS, Topics
from tests.faults.checker import Place, told, violations
from tests.faults.folding import differences
from tests.faults.workload import Sent, Workload
from tests.support.apache_kafka import ApacheKafka
from tests.support.ingesting import make_anew
from tests.support.processes import ROOT, until

STORE_STEPS = ("moved", "remembered", "numbered", "copying", "committing", "committed", "saving")
OTHER_STEPS = ("polled", "decided", "answered", "folded", "saved")
MAX_RECORDS = 40
"""Small batches, so that a chunk reaches every step many times."""
CHUNK = 1200


@dataclass(slots=True)
class Servers:
    """A PostgreSQL and a broker for one campaign."""

    postgres: EmbeddedPostgres
    kafka: ApacheKafka | EmbeddedBroker
    folder: Path
    database: str
    disk: Path | None = None
    """The small disk that holds the database, where one can be made."""

    @classmethod
    @contextmanager
    def start(cls, folder: Path, *, apache: bool) -> "Iterator[Servers]":
        """Both servers, with schema and topics."""
        with ExitStack() as running:
            disk = running.enter_context(small_disk(folder))
            postgres = running.enter_context(EmbeddedPostgres.start(folder / "postgres"))
            broker = ApacheKafka.start(folder / "kafka") if apache else EmbeddedBroker.start(folder / "broker.log")
            running.enter_context(broker)
            servers = cls(postgres, broker, folder, postgres.create_database("kehu"))
            servers.disk = disk
            if disk is not None:
                servers.move_to(disk)
            servers.kehu(ROOT, "setup", "--partitions", "2").wait(60)
            yield servers

    def move_to(self, disk: Path) -> None:
        """Keep the database on that disk."""
        space = disk / "space"
        space.mkdir()
        shutil.chown(space, "nobody")
        with psycopg.connect(self.postgres.url(), autocommit=True) as conn:
            conn.execute(f"CREATE TABLESPACE small LOCATION '{space}'".encode())
            conn.execute("ALTER DATABASE kehu SET TABLESPACE small")

    def kehu(self, code: Path, *arguments: str, fail: str = "", log: str = "setup.log") -> "subprocess.Popen[bytes]":
        """A process of the code in that folder."""
        env = {
            **os.environ,
            "KEHU_POSTGRES": self.database,
            "KEHU_KAFKA": self.kafka.bootstrap_servers,
            "KEHU_MAX_RECORDS": str(MAX_RECORDS),
            "KEHU_FAIL": fail,
            "KEHU_REPORT_MISSED_FOR": "0",  # what is published is counted, also on the days after the bank's last one
        }
        with (self.folder / log).open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "infra.cli", *arguments], cwd=code, env=env, stdout=out, stderr=out
            )


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk in memory that can be filled. Only root may mount one; others go without."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512m,mode=0777", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@dataclass(slots=True)
class Campaign:
    """Rounds of faults on one pair of servers. `code` is the folder whose workers are tried."""

    servers: Servers
    seed: int
    code: Path = ROOT
    patience: float = 40.0
    rivals: bool = False
    """Whether each worker is of a group of its own, and so believes all partitions to be its own."""
    published: dict[Place, Sent] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    random: Random = field(init=False)
    workload: Workload = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.workload = Workload(self.seed)

    def round(self, plan: Sequence[str] | None = None) -> list[str]:
        """One round with faults drawn or given (KEHU_FAIL of each worker); returns what is wrong after it."""
        self.rounds += 1
        plans = list(plan) if plan is not None else [self._draw(), self._draw()]
        log = f"round-{self.rounds}.log"
        group = f"round-{self.rounds}"
        workers = [self._worker(f"{group}-{n}" if self.rivals else group, fail, log) for n, fail in enumerate(plans)]
        try:
            asyncio.run(self._publish(self.workload.chunk(CHUNK)))
            disturb = self.random.choice(DISTURBANCES) if plan is None else _nothing
            disturb(self, group, log, workers)
            self._until(
                lambda: self._caught_up() or all(_ended_or_frozen(w) for w in workers), "workers are stuck", log
            )
            self._stop(workers)
            if not self._caught_up():
                workers.append(self._worker(f"{group}-quiet", "", log))
                self._until(self._caught_up, "a quiet worker does not catch up", log)
        finally:
            self._stop(workers)
        for line in (self.servers.folder / log).read_text(errors="replace").splitlines():
            if line.startswith("failpoint "):
                self.faults[line.removeprefix("failpoint ")] += 1
        return violations(self.servers.database, self.published) + differences(self.servers.database)

    def _draw(self) -> str:
        """Some cuts, which a worker survives, and perhaps a step at which it dies or freezes."""
        drawn = {
            step: f"{self.random.randint(1, 4)}={self.random.choice(['cut', 'cut', 'deaf'])}"
            for step in self.random.sample(STORE_STEPS, 3)
        }
        end = self.random.random()
        if end < 0.75:
            step = self.random.choice(STORE_STEPS + OTHER_STEPS)
            drawn[step] = f"{self.random.randint(2, 6)}={'kill' if end < 0.6 else 'stop'}"
        return ",".join(f"{step}@{what}" for step, what in drawn.items())

    def _worker(self, group: str, fail: str, log: str) -> "subprocess.Popen[bytes]":
        return self.servers.kehu(self.code, "worker", "--group", group, fail=fail, log=log)

    async def _publish(self, chunk: list[Sent]) -> None:
        servers = self.servers.kafka.bootstrap_servers
        header = [("content-type", b"application/cloudevents+json")]
        async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=False) as producer:
            futures = [await producer.send(one.topic, one.value, key=one.key.encode(), headers=header) for one in chunk]
            ids = await asyncio.to_thread(self._topic_ids)
            for one, told_of in zip(chunk, await asyncio.gather(*futures), strict=True):
                self.published[ids[told_of.topic], told_of.partition, told_of.offset] = one

    def _topic_ids(self) -> dict[str, str]:
        admin = Topics(self.servers.kafka.bootstrap_servers)
        ids = admin.ids(list(TOPICS.values()))
        admin.close()
        return {name: topic_id for name, topic_id in ids.items() if topic_id}

    def _again(self, topic: str) -> list[Sent]:
        """Half of what was published to a topic, once more, and a new chunk."""
        before = [one for one in self.published.values() if one.topic == topic]
        some = self.random.sample(before, len(before) // 2)
        repeated = [replace(one, fate="dead" if one.fate == "dead" else "duplicate") for one in some]
        return repeated + self.workload.chunk(CHUNK // 2)

    def _is_claimed(self, topic_id: str) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.servers.database, connect_timeout=2) as conn:
            query = "SELECT count(*) = 2 FROM kehu.positions WHERE topic_id = %s"
            return conn.execute(query, (topic_id,)).fetchone() == (True,)
        return False

    def _caught_up(self) -> bool:
        read, folded, head, parked = self._progress()
        return read == len(self.published) and folded == head and parked == 0

    def _progress(self) -> tuple[int, ...]:
        """Messages read, positions folded and stored, and messages parked; nothing while the store is away."""
        query = """SELECT coalesce(sum(next_offset), 0), (SELECT min(position) FROM kehu.projections),
            (SELECT n FROM kehu.log_head), (SELECT count(*) FROM kehu.parked) FROM kehu.positions"""
        try:
            with psycopg.connect(self.servers.database, connect_timeout=2) as conn:
                row = conn.execute(query).fetchone()
        except psycopg.OperationalError:
            return (-1, -1, -1, -1)
        assert row is not None
        return tuple(row)

    def _until(self, happened: Callable[[], bool], otherwise: str, log: str) -> None:
        try:
            until(happened, self.patience)
        except TimeoutError:
            end = (self.servers.folder / log).read_text(errors="replace")[-3000:]
            at = dict(zip(("read", "folded", "stored", "parked"), self._progress(), strict=True))
            where = f"seed {self.seed}, round {self.rounds}, {len(self.published)} published, {at}"
            raise Stuck(f"{otherwise}; {where}\n{end}") from None

    def _stop(self, workers: "Sequence[subprocess.Popen[bytes]]") -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for worker in workers:
            try:
                worker.wait(12)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(5)
                raise Stuck(
                    f"a worker did not end within 12 s of SIGTERM; seed {self.seed}, round {self.rounds}"
                ) from None


class Stuck(AssertionError):
    """Nothing goes on any more."""


Disturb = Callable[[Campaign, str, str, "list[subprocess.Popen[bytes]]"], None]


def _nothing(*_of: object) -> None:
    """Only what the workers do to themselves."""


def _postgres_crashes(of: Campaign, _group: str, _log: str, _workers: object) -> None:
    of.servers.postgres.stop("immediate", forget=False)
    of.servers.postgres.restart(running=False)
    of.faults["postgres crashes"] += 1


def _broker_restarts(of: Campaign, _group: str, _log: str, _workers: object) -> None:
    if isinstance(of.servers.kafka, ApacheKafka):
        of.servers.kafka.restart()
        of.faults["broker restarts"] += 1


def _worker_joins_and_another_leaves(
    of: Campaign, group: str, log: str, workers: "list[subprocess.Popen[bytes]]"
) -> None:
    workers.append(of._worker(group, "", log))
    workers[0].terminate()
    of.faults["rebalance"] += 1


def _both_are_killed(of: Campaign, group: str, log: str, workers: "list[subprocess.Popen[bytes]]") -> None:
    for worker in workers:
        worker.kill()
    of.faults["both workers killed"] += 1
    workers.append(of._worker(group, "", log))


def _zombie_wakes(of: Campaign, group: str, log: str, workers: "list[subprocess.Popen[bytes]]") -> None:
    """A worker sleeps for longer than its session; another has its partitions when it wakes."""
    workers[0].send_signal(signal.SIGSTOP)
    of.faults["frozen longer than its session"] += 1
    workers.append(of._worker(f"{group}-other", "", log))
    of._until(of._caught_up, "nobody gets past a frozen worker", log)
    workers[0].send_signal(signal.SIGCONT)


def _topic_is_made_anew(of: Campaign, group: str, log: str, workers: "list[subprocess.Popen[bytes]]") -> None:
    """A topic that was read to its end is deleted and made again, and half of its messages are sent once more."""
    of._until(lambda: of._caught_up() or all(map(_ended_or_frozen, workers)), "workers are stuck", log)
    if all(map(_ended_or_frozen, workers)):
        workers.append(of._worker(group, "", log))
    of._until(of._caught_up, "a quiet worker does not catch up", log)
    topic = of.random.choice(sorted({one.topic for one in of.published.values()}))
    make_anew(of.servers.kafka.bootstrap_servers, [topic])
    topic_id = of._topic_ids()[topic]
    of._until(lambda: of._is_claimed(topic_id), "nobody reads a topic that was made anew", log)
    of.faults["topic made anew"] += 1
    asyncio.run(of._publish(of._again(topic)))


def _connections_are_ended(of: Campaign, _group: str, _log: str, _workers: object) -> None:
    with psycopg.connect(of.servers.database) as conn:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'kehu-%'"
        of.faults["connection ended by the server"] += len(conn.execute(query).fetchall())


def _disk_is_full(of: Campaign, _group: str, log: str, _workers: object) -> None:
    """No room for a while: for nothing that grows, until somebody makes room."""
    if of.servers.disk is None:
        return
    filler = of.servers.disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"\0" * 1_000_000):
            pass
    with suppress(TimeoutError):
        until(lambda: "No space left" in (of.servers.folder / log).read_text(errors="replace"), 4)
        of.faults["disk full"] += 1
    filler.unlink()


DISTURBANCES: tuple[Disturb, ...] = (
    _nothing,
    _nothing,
    _nothing,
    _postgres_crashes,
    _broker_restarts,
    _worker_joins_and_another_leaves,
    _both_are_killed,
    _zombie_wakes,
    _connections_are_ended,
    _disk_is_full,
    _topic_is_made_anew,
)


def _ended_or_frozen(worker: "subprocess.Popen[bytes]") -> bool:
    if worker.poll() is not None:
        return True
    try:
        return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(") ")[2][0] in "Tt"
    except FileNotFoundError:
        return True


def run(seed: int, faults: int, *, apache: bool, say: Callable[[str], None] = print) -> Mapping[str, int]:
    """Rounds until that many faults have happened; raises AssertionError at the first thing that is wrong."""
    folder = Path(mkdtemp(prefix="kehu-faults-"))
    folder.chmod(0o755)
    started = time.monotonic()
    with Servers.start(folder, apache=apache) as servers:
        campaign = Campaign(servers, seed)
        while campaign.faults.total() < faults:
            if wrong := campaign.round():
                raise AssertionError(f"seed {seed}, round {campaign.rounds}; logs in {folder}\n{told(wrong)}")
            say(f"{campaign.faults.total():>5} faults, {len(campaign.published):>7} messages, round {campaign.rounds}")
    say(f"seed {seed}: {campaign.faults.total()} faults in {time.monotonic() - started:.0f} s, nothing lost or twice")
    for name, n in sorted(campaign.faults.items()):
        say(f"{n:>5}  {name}")
    return campaign.faults


def main() -> None:
    """The campaign from the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--broker", choices=["embedded", "apache"], default="apache")
    given = parser.parse_args()
    run(given.seed, given.faults, apache=given.broker == "apache")


if __name__ == "__main__":
    main()
