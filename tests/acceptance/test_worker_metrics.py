"""What a worker tells Prometheus while it works, while PostgreSQL is away, and after it is back."""

import asyncio
from ipaddress import IPv4Address
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

from domain.survey import SurveyAnswered
from infra.embedded.broker import EmbeddedBroker, free_port
from infra.kafka import codec
from infra.kafka.topics import TOPICS
from projections.catalogue import ALL
from tests.support.ingesting import publish, survey
from tests.support.metrics import Scraped, scrape
from tests.support.own_postgres import own_postgres
from tests.support.processes import Kehu, until

SURVEYS = "kehu.surveys"
SAID = "Zaphod was not amused"


def commented(number: int) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    """An invitation and its answer, in which somebody says something personal."""
    invited, answered = survey(number)
    assert isinstance(answered.data, SurveyAnswered)
    said = replace(answered.data, comment=SAID)
    return [codec.structured(invited), codec.structured(replace(answered, data=said))]


GOOD = [one for number in range(100) for one in commented(number)]

PARTITIONS = 2 * len(TOPICS)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Where the workers of a test serve their metrics."""
    port = free_port()
    monkeypatch.setenv("KEHU_METRICS_PORT", str(port))
    return port


def ready(port: int, name: str, value: float, **labels: str) -> bool:
    """Whether the worker answers, and says this."""
    try:
        return scrape(port)(name, **labels) == value
    except OSError:
        return False


def read(seen: Scraped) -> float:
    """Messages that have an outcome."""
    return seen.sum("messages_total") - seen.sum("unparked_total")


def test_a_worker_tells_what_became_of_messages_and_how_everything_stands(kehu: Kehu, port: int) -> None:
    invited, answered = survey(1000)
    messages = [*GOOD, *GOOD[:7], *[(b"c", b"{no", [])] * 3, codec.structured(answered)]
    with kehu.worker():
        until(lambda: ready(port, "partitions", PARTITIONS, state="read"))
        asyncio.run(publish(kehu.kafka, messages))
        until(lambda: read(scrape(port)) == len(messages))
        until(lambda: scrape(port)("projection_position", projection="satisfaction") == 300)
        seen = scrape(port)
        counted = {"appended": 200, "duplicate": 7, "parked": 1, "dead": 3}
        assert seen.by("outcome", "messages_total", topic=SURVEYS) == counted
        assert seen.sum("messages_total") == len(messages)
        assert seen.by("topic", "parked_messages")[SURVEYS] == 1
        assert seen.by("topic", "dead_letters")[SURVEYS] == 3
        assert seen.by("topic", "unread_messages") == dict.fromkeys(TOPICS.values(), 0)
        assert seen.by("state", "partitions") == {"assigned": PARTITIONS, "read": PARTITIONS, "standing": 0}
        assert seen.by("projection", "projection_behind_events") == {one.name: 0 for one in ALL}
        assert seen.by("projection", "projection_stopped") == {one.name: 0 for one in ALL}
        assert seen.by("server", "server_up") == {"postgresql": 1, "kafka": 1}
        assert (seen("events_total"), seen("log_position")) == (300, 300)
        assert seen("claims_total") == seen("rebalances_total") == 1
        batches, delays = seen("batch_seconds_count"), seen("delay_seconds_count", topic=SURVEYS)
        assert batches == delays
        assert batches
        asyncio.run(publish(kehu.kafka, [codec.structured(invited)]))
        until(lambda: scrape(port)("unparked_total", topic=SURVEYS) == 1)
        assert read(scrape(port)) == len(messages) + 1 == kehu.read()
        until(lambda: scrape(port)("dead_letters_unpublished") == 0)
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{port}/", timeout=5)


def test_while_a_server_is_away_the_metrics_say_so_and_the_log_says_it_once(tmp_path: Path, port: int) -> None:
    with own_postgres() as server, EmbeddedBroker.start(tmp_path / "broker.log") as broker:
        kehu = Kehu(server.create_database("kehu"), broker.bootstrap_servers, tmp_path)
        kehu.done("setup", "--partitions", "2")
        log = tmp_path / "worker.log"
        with kehu.worker() as worker:
            until(lambda: ready(port, "partitions", PARTITIONS, state="read"))
            asyncio.run(publish(kehu.kafka, GOOD[:100]))
            until(lambda: read(scrape(port)) == 100)
            assert log.read_bytes() == b""
            server.stop("immediate", forget=False)
            asyncio.run(publish(kehu.kafka, GOOD[100:]))
            until(lambda: ready(port, "server_up", 0, server="postgresql"))
            # All services have asked in vain, and several times, when the store is away for so long.
            until(lambda: (scrape(port)("server_away_seconds", server="postgresql") or 0) > 8)
            away = scrape(port)
            assert away.by("state", "partitions") == {"assigned": PARTITIONS, "read": 0, "standing": 0}
            assert away("server_up", server="kafka") == 1
            assert away("log_position") is None
            assert lines(log) == ["waiting for PostgreSQL"]
            server.restart(running=False)
            until(lambda: ready(port, "server_up", 1, server="postgresql"))
            until(lambda: read(scrape(port)) == len(GOOD))
            until(lambda: scrape(port)("log_position") == 300)
            back = scrape(port)
            assert back.by("outcome", "messages_total", topic=SURVEYS)["appended"] == len(GOOD)
            assert back("server_away_seconds", server="postgresql") == 0
            assert back("rebalances_total") == 1, "it kept its place in the group"
            broker.stop()
            until(lambda: ready(port, "server_up", 0, server="kafka"))
            assert scrape(port)("server_up", server="postgresql") == 1
            worker.terminate()
            assert worker.wait(20) == 0
        away_again = f"waiting for Kafka at {kehu.kafka}"
        assert lines(log) == ["waiting for PostgreSQL", "going on with PostgreSQL", away_again]
        assert kehu.one("SELECT sum(appended)::int FROM kehu.positions") == len(GOOD)
        assert kehu.one("SELECT count(*) FROM kehu.stored_events") == 300
        # Whatever went wrong, neither of them says what was in the messages.
        for told in (log, server.data_dir / "server.log"):
            assert SAID not in told.read_text()


def lines(log: Path) -> list[str]:
    """What a worker said, without when and why."""
    said = [
        line.partition("]")[2].partition(" error=")[0].partition(" waited_")[0].strip()
        for line in log.read_text().splitlines()
    ]
    assert all(said), log.read_text()
    return said


def test_a_port_that_is_taken_is_one_line_with_a_remedy(tmp_path: Path, port: int) -> None:
    with EmbeddedBroker.start(tmp_path / "broker.log", port):
        done = Kehu("host=/nowhere", "127.0.0.1:1", tmp_path).run("worker")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert "KEHU_METRICS_PORT" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_metrics_are_served_on_loopback_and_only_when_asked_for(kehu: Kehu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEHU_METRICS_PORT", raising=False)
    with kehu.worker("quiet") as worker:
        until(lambda: claimed(kehu))
        assert listening(worker.pid) == set()
    port = free_port()
    monkeypatch.setenv("KEHU_METRICS_PORT", str(port))
    with kehu.worker("told") as worker:
        until(lambda: ready(port, "partitions", PARTITIONS, state="read"))
        assert listening(worker.pid) == {("127.0.0.1", port)}
    monkeypatch.setenv("KEHU_METRICS_HOST", "0.0.0.0")
    with kehu.worker("open") as worker:
        until(lambda: ready(port, "partitions", PARTITIONS, state="read"))
        assert listening(worker.pid) == {("0.0.0.0", port)}


def claimed(kehu: Kehu) -> bool:
    """Whether a worker has claimed all partitions."""
    return bool(kehu.one("SELECT count(*) FROM kehu.positions") == PARTITIONS)


def listening(pid: int) -> set[tuple[str, int]]:
    """Where a process waits for connections, as the kernel says."""
    mine = {path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, state = fields[1], fields[3]
        if state == "0A" and f"socket:[{fields[9]}]" in mine:
            address, port = local.split(":")
            found.add((str(IPv4Address(bytes.fromhex(address)[::-1])), int(port, 16)))
    return found
